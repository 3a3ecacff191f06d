"""Tasks and time on the loop of a variant; of spawn-join a tenth, because it is slow."""

import asyncio

from asyncio_peer import Meter, Unsupported, new_loop

TOGETHER = 1_000
LIVE_TIMERS = 100_000
FAR = 3_600.0


def run(options):
    cases = {
        "spawn-join": (spawn_join, 100_000),
        "spawn-million": (spawn_million, 1_000_000),
        "yield": (yields, 1_000_000),
        "timer-drop": (timer_drop, 1_000_000),
        "timer-replace": (timer_replace, 1_000_000),
        "timer-fire": (timer_fire, 100_000),
    }
    if options.case not in cases:
        raise Unsupported("one loop a process")
    work, full = cases[options.case]
    loop = new_loop(options.variant)
    return loop.run_until_complete(work(max(1, int(full * options.scale))))


async def number(index):
    return index


async def spawn_join(tasks):
    total = 0
    meter = Meter()
    for begin in range(0, tasks, TOGETHER):
        together = range(begin, min(tasks, begin + TOGETHER))
        for task in [asyncio.ensure_future(number(index)) for index in together]:
            total += await task
    figures = meter.end(tasks)
    assert total == sum(range(tasks))
    return figures


async def spawn_million(tasks):
    total = 0
    meter = Meter()
    for task in [asyncio.ensure_future(number(index)) for index in range(tasks)]:
        total += await task
    figures = meter.end(tasks)
    assert total == sum(range(tasks))
    return figures


async def yield_often(times):
    for _ in range(times):
        await asyncio.sleep(0)


async def yields(times):
    each = -(-times // TOGETHER)
    meter = Meter()
    await asyncio.gather(*(yield_often(each) for _ in range(TOGETHER)))
    return meter.end(each * TOGETHER)


def nothing():
    pass


async def timer_drop(timers):
    loop = asyncio.get_running_loop()
    live = [loop.call_later(FAR + index * 1e-6, nothing) for index in range(LIVE_TIMERS)]
    meter = Meter()
    for index in range(timers):
        loop.call_later(FAR + index * 1e-6, nothing).cancel()
        if index % TOGETHER == 0:
            await asyncio.sleep(0)
    figures = meter.end(timers)
    for timer in live:
        timer.cancel()
    return figures


async def timer_replace(timers):
    loop = asyncio.get_running_loop()
    live = [loop.call_later(FAR + index * 1e-6, nothing) for index in range(LIVE_TIMERS)]
    meter = Meter()
    for index in range(timers):
        slot = index % LIVE_TIMERS
        live[slot].cancel()
        live[slot] = loop.call_later(FAR + (LIVE_TIMERS + index) * 1e-6, nothing)
        if index % TOGETHER == 0:
            await asyncio.sleep(0)
    figures = meter.end(timers)
    for timer in live:
        timer.cancel()
    return figures


async def timer_fire(timers):
    meter = Meter()
    micros = (index * 7_919 % timers + 1 for index in range(timers))
    await asyncio.gather(*(asyncio.sleep(each * 1e-6) for each in micros))
    return meter.end(timers)

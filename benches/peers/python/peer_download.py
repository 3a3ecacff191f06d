"""Downloads with aiohttp, on the loop of a variant; files are written by plain calls."""

import os

import aiohttp
import asyncio

from asyncio_peer import Meter, Unsupported, new_loop

IN_FLIGHT = 20
GATHER_BYTES = 256 << 10
OBJECTS = {"small": 2_000, "large": 20}


def run(options):
    if options.case not in OBJECTS:
        raise Unsupported(f"no case `{options.case}`")
    return new_loop(options.variant).run_until_complete(fetch(options))


async def fetch(options):
    objects = max(1, int(OBJECTS[options.case] * options.scale))
    turns = iter(range(objects))
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(connector=connector) as session:
        meter = Meter()
        await asyncio.gather(*(fetch_some(options, session, turns) for _ in range(IN_FLIGHT)))
        return meter.end(objects)


async def fetch_some(options, session, turns):
    for number in turns:
        url = f"{options.origin}/{options.case}/{number}"
        async with session.get(url) as answer:
            answer.raise_for_status()
            with open(os.path.join(options.dir, str(number)), "wb") as file:
                async for chunk in answer.content.iter_chunked(GATHER_BYTES):
                    file.write(chunk)

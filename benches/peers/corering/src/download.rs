//! The client and the writer that `corering get` uses.

use std::io;
use std::rc::Rc;

use corering::fs::{File, FileWriter};
use corering::http::{Client, ClientLimits};
use peer::download::{IN_FLIGHT, Plan};
use peer::files::Turns;
use peer::{Figures, Job, Measured, Meter};

use crate::runtime::{block_on, join, spawn};

pub(crate) fn measure(job: &Job) -> Measured {
    Ok(block_on(job, fetch(Plan::of(job)))??)
}

async fn fetch(plan: Plan) -> io::Result<Figures> {
    let objects = plan.objects;
    let (plan, turns) = (Rc::new(plan), Rc::new(Turns::new(objects)));
    let client = Client::new(ClientLimits {
        connections_per_host: IN_FLIGHT,
        ..ClientLimits::default()
    });
    let meter = Meter::begin();
    let some = |_| spawn(fetch_some(client.clone(), plan.clone(), turns.clone()));
    let tasks: Vec<_> = (0..IN_FLIGHT).map(some).collect();
    for task in tasks {
        join(task).await?;
    }
    Ok(meter.end(objects as u64))
}

async fn fetch_some(client: Client, plan: Rc<Plan>, turns: Rc<Turns>) -> io::Result<()> {
    while let Some(object) = turns.take() {
        let url = plan.url(object).parse().map_err(io::Error::other)?;
        let mut answer = client.get(&url).await.map_err(io::Error::other)?;
        if answer.status() != 200 {
            return Err(io::Error::other(format!("{url}: {}", answer.status())));
        }
        let mut writer = FileWriter::new(File::create(plan.path(object)).await?);
        while let Some(chunk) = answer.chunk().await.map_err(io::Error::other)? {
            writer.write_owned(chunk).await?;
        }
        writer.finish().await?.close().await?;
    }
    Ok(())
}

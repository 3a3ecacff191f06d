//! The loops of the file cases, as text that each contender compiles against its runtime.

/// Defines `measure`, which carries out every case.
///
/// `$runtime` is the module of [`task_loops`](crate::task_loops). `$disk` has these:
/// ```text
/// type File                                            is shared by all tasks
/// type Buf: DerefMut<Target = [u8]>                    one block, aligned
/// fn block() -> Buf
/// async fn create(path: PathBuf, contents: Vec<u8>, fsync: bool) -> io::Result<Vec<u8>>
/// async fn open(large: &Large) -> io::Result<File>
/// async fn write(file: &File, buf: Buf, offset: u64) -> io::Result<Buf>
/// async fn read(file: &File, buf: Buf, offset: u64) -> io::Result<(u64, Buf)>    and its stamp
/// async fn close(file: File) -> io::Result<()>         no task has it any more
/// ```
#[macro_export]
macro_rules! file_loops {
    ($runtime:path, $disk:path) => {
        use $disk as of_disk;
        use $runtime as of_runtime;

        pub(crate) fn measure(job: &$crate::Job) -> $crate::Measured {
            let plan = $crate::files::Plan::of(job)?;
            let figures = match plan.clone() {
                $crate::files::Plan::Small(small) => of_runtime::block_on(job, make(small))??,
                $crate::files::Plan::Large(large) => of_runtime::block_on(job, go_over(large))??,
            };
            plan.verify()?;
            Ok(figures)
        }

        async fn make(small: $crate::files::Small) -> std::io::Result<$crate::Figures> {
            let files = small.files;
            let small = std::sync::Arc::new(small);
            let turns = std::sync::Arc::new($crate::files::Turns::new(files));
            let mut handles = Vec::new();
            let meter = $crate::Meter::begin();
            for _ in 0..$crate::files::IN_FLIGHT {
                handles.push(of_runtime::spawn(make_some(small.clone(), turns.clone())));
            }
            for handle in handles {
                of_runtime::join(handle).await?;
            }
            Ok(meter.end(files as u64))
        }

        async fn make_some(
            small: std::sync::Arc<$crate::files::Small>,
            turns: std::sync::Arc<$crate::files::Turns>,
        ) -> std::io::Result<()> {
            let mut contents = small.contents();
            while let Some(file) = turns.take() {
                $crate::files::stamp(&mut contents, file as u64);
                contents = of_disk::create(small.path(file), contents, small.fsync).await?;
            }
            Ok(())
        }

        // Some runtimes' files stay on their thread; of others this one may be sent.
        #[allow(clippy::arc_with_non_send_sync)]
        async fn go_over(large: $crate::files::Large) -> std::io::Result<$crate::Figures> {
            let blocks = large.order.len();
            let file = std::sync::Arc::new(of_disk::open(&large).await?);
            let large = std::sync::Arc::new(large);
            let turns = std::sync::Arc::new($crate::files::Turns::new(blocks));
            let mut handles = Vec::new();
            let meter = $crate::Meter::begin();
            for _ in 0..$crate::files::IN_FLIGHT {
                let some = go_over_some(large.clone(), file.clone(), turns.clone());
                handles.push(of_runtime::spawn(some));
            }
            for handle in handles {
                of_runtime::join(handle).await?;
            }
            let figures = meter.end(blocks as u64);
            match std::sync::Arc::try_unwrap(file) {
                Ok(file) => of_disk::close(file).await?,
                Err(_) => return Err(std::io::Error::other("a task has the file after its end")),
            }
            Ok(figures)
        }

        async fn go_over_some(
            large: std::sync::Arc<$crate::files::Large>,
            file: std::sync::Arc<of_disk::File>,
            turns: std::sync::Arc<$crate::files::Turns>,
        ) -> std::io::Result<()> {
            let mut buf = of_disk::block();
            while let Some(turn) = turns.take() {
                let block = large.order[turn];
                let offset = $crate::files::Large::offset(block);
                if large.write {
                    let mark = $crate::files::Large::written_stamp(block);
                    $crate::files::stamp(&mut buf[..], mark);
                    buf = of_disk::write(&file, buf, offset).await?;
                } else {
                    let (stamp, back) = of_disk::read(&file, buf, offset).await?;
                    $crate::files::Large::check_read(block, stamp)?;
                    buf = back;
                }
            }
            Ok(())
        }
    };
}

fn main() {
    let t = std::time::Instant::now();
    let r = corering::block_on(async {
        let h = corering::spawn(async { 6 * 7 });
        corering::time::sleep(std::time::Duration::from_millis(20)).await;
        h.await.unwrap()
    });
    println!("{r} {:?}", t.elapsed());
    let mut rt = corering::Runtime::builder().cores(2).build().unwrap();
    println!(
        "{:?}",
        rt.run(|c| async move {
            corering::time::sleep(std::time::Duration::from_millis(5)).await;
            c
        })
    );
    let t = std::time::Instant::now();
    println!("{:?}", rt.metrics());
    drop(rt);
    println!("{:?}", t.elapsed());
}

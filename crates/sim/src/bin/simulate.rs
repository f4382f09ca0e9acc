fn main() {
    let n: u64 = std::env::args().nth(1).map_or(10, |n| n.parse().unwrap());
    let from: u64 = std::env::args().nth(2).map_or(0, |n| n.parse().unwrap());
    let t = std::time::Instant::now();
    for seed in from..from + n {
        let o = sim::simulation::run(seed, &Default::default());
        if o.violation.is_some() || n < 20 { let p = sim::simulation::run(seed, &Default::default()); assert_eq!(o.digest, p.digest); println!("{seed} {:x} {} {:?} {} {:?} {:?}", o.digest, o.events, o.answers, o.checks, o.violation, t.elapsed());}
    }
    println!("{:?}", t.elapsed());
}

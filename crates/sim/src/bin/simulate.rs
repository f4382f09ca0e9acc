use coherence::Rule;
use sim::simulation::{Options, run};
fn main() {
    let n: u64 = std::env::args().nth(1).map_or(10, |n| n.parse().unwrap());
    let from: u64 = std::env::args().nth(2).map_or(0, |n| n.parse().unwrap());
    let t = std::time::Instant::now();
    if n == 0 {
        for rule in Rule::ALL {
            let options = Options { without: Some(*rule), ..Options::default() };
            let found = (0..from).find_map(|seed| run(seed, &options).violation.map(|v| (seed, v)));
            println!("{rule:?}: {:?} {:?}", found, t.elapsed());
        }
        return;
    }
    for seed in from..from + n {
        let o = run(seed, &Options { trace: std::env::var("TRACE").is_ok(), ..Options::default() });
        for line in &o.lines { println!("{line}"); }
        if o.violation.is_some() || n < 20 { println!("{seed} {:x} {} {:?} {} {:?} {:?}", o.digest, o.events, o.answers, o.checks, o.violation, t.elapsed());}
    }
    println!("{:?}", t.elapsed());
}

use super::*;

const JOB: JobState = JobState {
    attempt: 1,
    attempts_left: 2,
    expires_ms: Some(100),
    phase: JobPhase::Waiting { due_ms: 10 },
};

const LEASE: JobInput = JobInput::Lease { lease_ms: 5, paused: false };

fn report(attempt: u32, outcome: AttemptOutcome) -> JobInput {
    JobInput::Report { attempt, outcome }
}

#[test]
fn due_job_is_leased_once() {
    assert_eq!(step_job(JOB, LEASE, 9), Err(JobRefusal::NotDue));
    let paused = JobInput::Lease { lease_ms: 5, paused: true };
    assert_eq!(step_job(JOB, paused, 10), Err(JobRefusal::Paused));
    let (leased, effect) = step_job(JOB, LEASE, 10).expect("leased");
    assert_eq!((leased.phase, effect), (JobPhase::Leased { until_ms: 15 }, JobEffect::Run));
    assert_eq!(step_job(leased, LEASE, 10), Err(JobRefusal::NotWaiting));
}

#[test]
fn lost_lease_fences_the_worker() {
    let (leased, _) = step_job(JOB, LEASE, 10).expect("leased");
    assert_eq!(step_job(leased, JobInput::Recover, 14), Err(JobRefusal::NotOver));
    let (lost, effect) = step_job(leased, JobInput::Recover, 15).expect("over");
    assert_eq!((lost.attempt, lost.attempts_left), (2, 1));
    assert_eq!(effect, JobEffect::End(AttemptEnd::Lost));
    let (leased, _) = step_job(lost, LEASE, 15).expect("leased again");
    let late = report(1, AttemptOutcome::Done);
    assert_eq!(step_job(leased, late, 16), Err(JobRefusal::LeaseLost));
    let (done, _) = step_job(leased, report(2, AttemptOutcome::Done), 16).expect("done");
    assert_eq!(done.phase, JobPhase::Ended(JobEnd::Done));
}

#[test]
fn last_attempt_kills_the_job_and_a_replay_gives_attempts_back() {
    let (leased, _) = step_job(JobState { attempts_left: 1, ..JOB }, LEASE, 10).expect("leased");
    let (dead, effect) = step_job(leased, JobInput::Recover, 15).expect("over");
    assert_eq!(
        (dead.phase, effect),
        (JobPhase::Ended(JobEnd::Dead), JobEffect::End(AttemptEnd::Dead))
    );
    let (back, _) = step_job(dead, JobInput::Replay { attempts: 7 }, 20).expect("replayed");
    assert_eq!((back.attempt, back.attempts_left), (2, 7));
    assert_eq!(step_job(back, JobInput::Replay { attempts: 7 }, 20), Err(JobRefusal::NotDead));
}

#[test]
fn release_costs_no_attempt() {
    let (leased, _) = step_job(JOB, LEASE, 10).expect("leased");
    let (back, _) = step_job(leased, report(1, AttemptOutcome::Released), 11).expect("released");
    assert_eq!((back.attempt, back.attempts_left), (2, 2));
}

#[test]
fn expired_job_is_not_run() {
    let (expired, effect) = step_job(JOB, LEASE, 100).expect("expired");
    assert_eq!(expired.phase, JobPhase::Ended(JobEnd::Expired));
    assert_eq!(effect, JobEffect::End(AttemptEnd::Expired));
}

#[test]
fn lease_is_extended_in_time() {
    let (leased, _) = step_job(JOB, LEASE, 10).expect("leased");
    let extend = JobInput::Extend { attempt: 1, lease_ms: 20 };
    let (extended, _) = step_job(leased, extend, 14).expect("extended");
    assert_eq!(extended.phase, JobPhase::Leased { until_ms: 34 });
    assert_eq!(step_job(leased, extend, 15), Err(JobRefusal::LeaseLost));
}

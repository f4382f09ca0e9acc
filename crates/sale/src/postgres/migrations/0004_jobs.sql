-- Jobs: a log in four segments. Rows are only added. A segment in which few jobs are open is emptied by a truncation,
-- which leaves nothing behind for a vacuum that a held snapshot would delay.
create table tidegate.job_kind(
  kind text collate "C" primary key,
  class text not null check (class in ('high', 'medium', 'low')),
  attempts int not null check (attempts > 0),
  ttl_ms bigint check (ttl_ms > 0),
  events text[] not null,
  run text not null default 'running' check (run in ('running', 'paused', 'draining')),
  changed_at timestamptz not null default clock_timestamp()
);

create table tidegate.job_segment(
  only_row boolean primary key default true check (only_row),
  current int not null check (current between 0 and 3)
);
insert into tidegate.job_segment(current) values (0);

create sequence tidegate.job_id;
create sequence tidegate.job_place;

-- An attempt of a job. The next attempt is a row of its own.
create table tidegate.job_entry(
  segment int not null,
  place bigint not null default nextval('tidegate.job_place'),
  id bigint not null,
  attempt int not null,
  attempts_left int not null,
  kind text collate "C" not null,
  body text not null,
  unique_key text collate "C",
  is_new boolean not null,
  is_delayed boolean not null,
  enqueued_at timestamptz not null,
  due_at timestamptz not null,
  expires_at timestamptz,
  primary key (id, attempt, segment)
) partition by list (segment);
create index job_entry_place on tidegate.job_entry(kind, place) where not is_delayed;
create index job_entry_due on tidegate.job_entry(kind, due_at) where is_delayed;

-- The lease of an attempt; an extension has the next number.
create table tidegate.job_claim(
  segment int not null,
  id bigint not null,
  attempt int not null,
  number int not null,
  kind text collate "C" not null,
  worker text not null,
  at timestamptz not null,
  leased_until timestamptz not null,
  primary key (id, attempt, number, segment)
) partition by list (segment);
create index job_claim_until on tidegate.job_claim(kind, leased_until);

-- The end of an attempt.
create table tidegate.job_end(
  segment int not null,
  id bigint not null,
  attempt int not null,
  kind text collate "C" not null,
  outcome text not null check (outcome in ('done', 'retry', 'lost', 'released', 'dead', 'expired')),
  reason text,
  at timestamptz not null,
  primary key (id, attempt, segment)
) partition by list (segment);

do $$
begin
  for n in 0..3 loop
    execute format('create table tidegate.job_entry_%s partition of tidegate.job_entry for values in (%s)', n, n);
    execute format('create table tidegate.job_claim_%s partition of tidegate.job_claim for values in (%s)', n, n);
    execute format('create table tidegate.job_end_%s partition of tidegate.job_end for values in (%s)', n, n);
  end loop;
end $$;

create table tidegate.job_dead(
  id bigint primary key,
  attempt int not null,
  kind text collate "C" not null,
  body text not null,
  reason text,
  enqueued_at timestamptz not null,
  died_at timestamptz not null
);
create index job_dead_kind on tidegate.job_dead(kind, died_at);

-- Idempotency keys of requests, for a day; keys of unique jobs, until these have ended.
create table tidegate.job_key(
  kind text collate "C" not null,
  key text collate "C" not null,
  is_request boolean not null,
  digest bigint not null,
  id bigint not null,
  at timestamptz not null,
  primary key (kind, key, is_request)
);

-- The counts of truncated rows.
create table tidegate.job_total(
  kind text collate "C" primary key,
  enqueued bigint not null default 0,
  done bigint not null default 0,
  dead bigint not null default 0,
  expired bigint not null default 0
);

-- Enqueues a job in the caller's transaction. Returns its number, or that of the open job with the same unique key.
create function tidegate.enqueue_job(
  wanted_kind text, wanted_body text, wanted_unique text default null, delay_ms bigint default 0,
  wanted_ttl_ms bigint default null)
returns bigint
language plpgsql as $$
#variable_conflict use_column
declare
  known tidegate.job_kind;
  new_id bigint;
  other bigint;
  now timestamptz;
begin
  select * into known from tidegate.job_kind k where k.kind = wanted_kind;
  if known.kind is null then
    raise exception 'there is no kind of jobs %; add [jobs.%] to the configuration and start a node', wanted_kind, wanted_kind
      using errcode = 'invalid_parameter_value';
  end if;
  new_id := nextval('tidegate.job_id');
  while wanted_unique is not null loop
    insert into tidegate.job_key(kind, key, is_request, digest, id, at)
      values (wanted_kind, wanted_unique, false, 0, new_id, clock_timestamp()) on conflict do nothing;
    exit when found;
    select k.id into other from tidegate.job_key k
      where k.kind = wanted_kind and k.key = wanted_unique and not k.is_request;
    if other is not null then
      return other;
    end if;
  end loop;
  now := clock_timestamp();
  insert into tidegate.job_entry(segment, id, attempt, attempts_left, kind, body, unique_key, is_new, is_delayed,
      enqueued_at, due_at, expires_at)
    select s.current, new_id, 1, known.attempts, wanted_kind, wanted_body, wanted_unique, true, delay_ms > 0,
      now, now + delay_ms * interval '1 millisecond',
      now + (delay_ms + coalesce(wanted_ttl_ms, known.ttl_ms)) * interval '1 millisecond'
    from tidegate.job_segment s;
  return new_id;
end $$;

-- Enqueues jobs for nodes, all in one statement if none has a key.
create function tidegate.enqueue_jobs(
  kinds text[], bodies text[], request_keys text[], digests bigint[], unique_keys text[], delays_ms bigint[],
  ttls_ms bigint[])
returns table(outcome text, job bigint)
language plpgsql as $$
#variable_conflict use_column
declare
  n int;
  now timestamptz;
  run text;
  before bigint;
  known tidegate.job_key;
begin
  if not exists (select 1 from unnest(kinds, request_keys, unique_keys) u(kind, request_key, unique_key)
      where u.request_key is not null or u.unique_key is not null
        or not exists (select 1 from tidegate.job_kind k where k.kind = u.kind and k.run <> 'draining')) then
    now := clock_timestamp();
    return query
      insert into tidegate.job_entry(segment, id, attempt, attempts_left, kind, body, is_new, is_delayed, enqueued_at,
          due_at, expires_at)
        select s.current, nextval('tidegate.job_id'), 1, k.attempts, u.kind, u.body, true, u.delay_ms > 0, now,
          now + u.delay_ms * interval '1 millisecond',
          now + (u.delay_ms + coalesce(u.ttl_ms, k.ttl_ms)) * interval '1 millisecond'
        from unnest(kinds, bodies, delays_ms, ttls_ms) with ordinality u(kind, body, delay_ms, ttl_ms, n)
          join tidegate.job_kind k on k.kind = u.kind cross join tidegate.job_segment s order by u.n
        returning 'enqueued', id;
    return;
  end if;
  for n in 1..cardinality(kinds) loop
    if request_keys[n] is not null then
      insert into tidegate.job_key(kind, key, is_request, digest, id, at)
        values (kinds[n], request_keys[n], true, digests[n], 0, clock_timestamp()) on conflict do nothing;
      if not found then
        select * into known from tidegate.job_key k
          where k.kind = kinds[n] and k.key = request_keys[n] and k.is_request;
        return query select case when known.digest = digests[n] then 'repeated' else 'reused' end, known.id;
        continue;
      end if;
    end if;
    select k.run into run from tidegate.job_kind k where k.kind = kinds[n];
    if run is null or run = 'draining' then
      delete from tidegate.job_key k where k.kind = kinds[n] and k.key = request_keys[n] and k.is_request;
      return query select coalesce(run, 'unknown'), null::bigint;
      continue;
    end if;
    select k.id into before from tidegate.job_key k
      where k.kind = kinds[n] and k.key = unique_keys[n] and not k.is_request;
    job := tidegate.enqueue_job(kinds[n], bodies[n], unique_keys[n], delays_ms[n], ttls_ms[n]);
    update tidegate.job_key k set id = job
      where k.kind = kinds[n] and k.key = request_keys[n] and k.is_request;
    return query select case when before = job then 'repeated' else 'enqueued' end, job;
  end loop;
end $$;

-- Jobs that follow from events of orders are enqueued in the transaction of the event.
create function tidegate.enqueue_for_event() returns trigger
language plpgsql as $$
begin
  perform tidegate.enqueue_job(k.kind, json_build_object(
      'order', new.checkout, 'number', new.number, 'event', new.kind, 'content', new.body::json)::text)
    from tidegate.job_kind k where new.kind = any(k.events);
  return null;
end $$;
create trigger outbox_jobs after insert on tidegate.outbox
  for each row execute function tidegate.enqueue_for_event();

-- Leases jobs that are due. Leases of one kind are made, extended and recovered by one session at a time. The last row has
-- no job: it
-- says how many attempts were read, how far, and in which snapshot.
create function tidegate.claim_jobs(
  wanted_kind text, most bigint, lease_ms bigint, wanted_worker text, after_place bigint, after_due_ms bigint)
returns table(job bigint, attempt int, attempts_left int, body text, enqueued_ms bigint, due_ms bigint,
  until_ms bigint, read_place bigint, read_due_ms bigint, oldest_open bigint, next_open bigint)
language plpgsql as $$
#variable_conflict use_column
declare
  now timestamptz;
  until timestamptz;
  after_due timestamptz;
begin
  perform pg_advisory_xact_lock_shared(7409, 2);
  perform pg_advisory_xact_lock(hashtextextended(wanted_kind, 7410));
  if not exists (select 1 from tidegate.job_kind k where k.kind = wanted_kind and k.run <> 'paused') then
    return;
  end if;
  now := clock_timestamp();
  until := now + lease_ms * interval '1 millisecond';
  after_due := to_timestamp(after_due_ms / 1000.0);
  return query
    with later as materialized (
      select e.* from tidegate.job_entry e
        where e.kind = wanted_kind and e.is_delayed and e.due_at > after_due and e.due_at <= now
          and not exists (select 1 from tidegate.job_claim c where c.id = e.id and c.attempt = e.attempt)
          and not exists (select 1 from tidegate.job_end d where d.id = e.id and d.attempt = e.attempt)
        order by e.due_at limit greatest(most / 2, 1)
    ), soon as materialized (
      select e.* from tidegate.job_entry e
        where e.kind = wanted_kind and not e.is_delayed and e.place > after_place
          and not exists (select 1 from tidegate.job_claim c where c.id = e.id and c.attempt = e.attempt)
          and not exists (select 1 from tidegate.job_end d where d.id = e.id and d.attempt = e.attempt)
        order by e.place limit most - (select count(*) from later)
    ), found as materialized (select * from later union all select * from soon),
    expired as (
      insert into tidegate.job_end(segment, id, attempt, kind, outcome, at)
        select f.segment, f.id, f.attempt, f.kind, 'expired', now from found f where f.expires_at <= now
    ), freed as (
      delete from tidegate.job_key k using found f
        where f.expires_at <= now and k.kind = f.kind and k.key = f.unique_key and not k.is_request and k.id = f.id
    ), taken as (
      insert into tidegate.job_claim(segment, id, attempt, number, kind, worker, at, leased_until)
        -- A job may have been enqueued after this call has read the clock.
        select f.segment, f.id, f.attempt, 0, f.kind, wanted_worker, greatest(now, f.due_at), until from found f
        where f.expires_at is null or f.expires_at > now
    )
    (select f.id, f.attempt, f.attempts_left, f.body, tidegate.ms(f.enqueued_at), tidegate.ms(f.due_at),
        tidegate.ms(until), null::bigint, null::bigint, null::bigint, null::bigint
      from found f where f.expires_at is null or f.expires_at > now order by f.due_at, f.place)
    union all
    select null, null, count(*)::int, null, null, null, null, max(f.place) filter (where not f.is_delayed),
        tidegate.ms(max(f.due_at) filter (where f.is_delayed)),
        pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint
      from found f;
end $$;

-- Ends attempts, each by `done`, `fail`, `dead`, `released` or `lost`. An attempt has one end, so the number of the
-- attempt is the fencing token. Returns the recorded end of each; null where there is no such attempt.
create function tidegate.end_jobs(
  ids bigint[], attempts int[], wanted text[], reasons text[], delays_ms bigint[])
returns table(ended text, is_first boolean)
language plpgsql as $$
#variable_conflict use_column
declare
  now timestamptz;
  firsts bigint[];
begin
  perform pg_advisory_xact_lock_shared(7409, 2);
  now := clock_timestamp();
  with held as materialized (
    select distinct on (u.id, u.attempt) e.*, u.n, u.reason, u.delay_ms,
      case when u.wanted in ('fail', 'lost') and e.attempts_left <= 1 then 'dead'
        when u.wanted = 'fail' then 'retry' else u.wanted end as verdict
    from unnest(ids, attempts, wanted, reasons, delays_ms) with ordinality u(id, attempt, wanted, reason, delay_ms, n)
      join tidegate.job_entry e on e.id = u.id and e.attempt = u.attempt
    where exists (select 1 from tidegate.job_claim c where c.id = u.id and c.attempt = u.attempt)
  ), ended as (
    insert into tidegate.job_end(segment, id, attempt, kind, outcome, reason, at)
      select h.segment, h.id, h.attempt, h.kind, h.verdict, h.reason, now from held h order by h.id
      on conflict do nothing returning id, attempt
  ), first as materialized (
    select h.* from held h join ended d on d.id = h.id and d.attempt = h.attempt
  ), again as (
    insert into tidegate.job_entry(segment, id, attempt, attempts_left, kind, body, unique_key, is_new, is_delayed,
        enqueued_at, due_at, expires_at)
      select s.current, f.id, f.attempt + 1, f.attempts_left - (f.verdict <> 'released')::int, f.kind, f.body,
        f.unique_key, false, f.delay_ms > 0, f.enqueued_at, now + f.delay_ms * interval '1 millisecond', f.expires_at
      from first f cross join tidegate.job_segment s where f.verdict in ('retry', 'lost', 'released')
  ), buried as (
    insert into tidegate.job_dead(id, attempt, kind, body, reason, enqueued_at, died_at)
      select f.id, f.attempt, f.kind, f.body, f.reason, f.enqueued_at, now from first f where f.verdict = 'dead'
  ), freed as (
    delete from tidegate.job_key k using first f
      where f.verdict in ('done', 'dead') and k.kind = f.kind and k.key = f.unique_key and not k.is_request
        and k.id = f.id
  )
  select array_agg(f.n) into firsts from first f;
  return query
    select (select d.outcome from tidegate.job_end d where d.id = u.id and d.attempt = u.attempt limit 1),
      coalesce(u.n = any(firsts), false)
    from unnest(ids, attempts) with ordinality u(id, attempt, n) order by u.n;
end $$;

-- Extends the lease of an attempt. Returns its new end; null: the lease is over, or the attempt has ended.
create function tidegate.extend_job(wanted_id bigint, wanted_attempt int, lease_ms bigint) returns bigint
language plpgsql as $$
declare
  now timestamptz;
  last tidegate.job_claim;
  until timestamptz;
begin
  perform pg_advisory_xact_lock_shared(7409, 2);
  select * into last from tidegate.job_claim c where c.id = wanted_id and c.attempt = wanted_attempt limit 1;
  if last.id is null then
    return null;
  end if;
  perform pg_advisory_xact_lock(hashtextextended(last.kind, 7410));
  select * into last from tidegate.job_claim c where c.id = wanted_id and c.attempt = wanted_attempt
    order by c.number desc limit 1;
  now := clock_timestamp();
  if last.leased_until <= now
      or exists (select 1 from tidegate.job_end d where d.id = wanted_id and d.attempt = wanted_attempt) then
    return null;
  end if;
  until := greatest(last.leased_until, now + lease_ms * interval '1 millisecond');
  insert into tidegate.job_claim(segment, id, attempt, number, kind, worker, at, leased_until)
    values (last.segment, wanted_id, wanted_attempt, last.number + 1, last.kind, last.worker, now, until);
  return tidegate.ms(until);
end $$;

-- Ends attempts whose leases are over. Returns their number, and a time up to which no lease has to be read again.
create function tidegate.recover_jobs(wanted_kind text, since_ms bigint, most bigint)
returns table(recovered bigint, read_ms bigint)
language plpgsql as $$
#variable_conflict use_column
declare
  now timestamptz;
  ids bigint[];
  attempts int[];
begin
  perform pg_advisory_xact_lock_shared(7409, 2);
  perform pg_advisory_xact_lock(hashtextextended(wanted_kind, 7410));
  now := clock_timestamp();
  select array_agg(c.id), array_agg(c.attempt) into ids, attempts
    from (select c.id, c.attempt from tidegate.job_claim c
      where c.kind = wanted_kind and c.leased_until > to_timestamp(since_ms / 1000.0) and c.leased_until <= now
        and not exists (select 1 from tidegate.job_claim n
          where n.id = c.id and n.attempt = c.attempt and n.number > c.number)
        and not exists (select 1 from tidegate.job_end d where d.id = c.id and d.attempt = c.attempt)
      order by c.leased_until limit most) c;
  if ids is not null then
    perform tidegate.end_jobs(ids, attempts, array_fill('lost'::text, array[cardinality(ids)]),
      array_fill('its lease ended without an outcome'::text, array[cardinality(ids)]),
      array_fill(0::bigint, array[cardinality(ids)]));
  end if;
  return query select coalesce(cardinality(ids), 0)::bigint,
    case when coalesce(cardinality(ids), 0) < most then tidegate.ms(now) else since_ms end;
end $$;

-- Empties a segment: counts its rows, copies open attempts with their leases to the current segment, and truncates it.
-- Returns false if it is in use.
create function tidegate.clear_job_segment(wanted int) returns boolean
language plpgsql set lock_timeout = '250ms' as $$
#variable_conflict use_column
begin
  perform pg_advisory_xact_lock(7409, 2);
  execute format('lock table tidegate.job_entry_%s, tidegate.job_claim_%s, tidegate.job_end_%s in access exclusive mode',
    wanted, wanted, wanted);
  if exists (select 1 from tidegate.job_segment s where s.current = wanted) then
    return false;
  end if;
  insert into tidegate.job_total as t(kind, enqueued, done, dead, expired)
    select u.kind, sum(u.enqueued), sum(u.done), sum(u.dead), sum(u.expired) from (
      select e.kind, count(*) filter (where e.is_new) as enqueued, 0 as done, 0 as dead, 0 as expired
        from tidegate.job_entry e where e.segment = wanted group by e.kind
      union all
      select d.kind, 0, count(*) filter (where d.outcome = 'done'), count(*) filter (where d.outcome = 'dead'),
          count(*) filter (where d.outcome = 'expired')
        from tidegate.job_end d where d.segment = wanted group by d.kind) u group by u.kind
    on conflict (kind) do update set enqueued = t.enqueued + excluded.enqueued, done = t.done + excluded.done,
      dead = t.dead + excluded.dead, expired = t.expired + excluded.expired;
  insert into tidegate.job_entry(segment, id, attempt, attempts_left, kind, body, unique_key, is_new, is_delayed,
      enqueued_at, due_at, expires_at)
    select s.current, e.id, e.attempt, e.attempts_left, e.kind, e.body, e.unique_key, false, e.is_delayed,
      e.enqueued_at, e.due_at, e.expires_at
    from tidegate.job_entry e cross join tidegate.job_segment s
    where e.segment = wanted
      and not exists (select 1 from tidegate.job_end d where d.id = e.id and d.attempt = e.attempt)
    order by e.place;
  insert into tidegate.job_claim(segment, id, attempt, number, kind, worker, at, leased_until)
    select s.current, c.id, c.attempt, c.number, c.kind, c.worker, c.at, c.leased_until
    from tidegate.job_claim c cross join tidegate.job_segment s
    where c.segment = wanted
      and not exists (select 1 from tidegate.job_end d where d.id = c.id and d.attempt = c.attempt);
  execute format('truncate tidegate.job_entry_%s, tidegate.job_claim_%s, tidegate.job_end_%s', wanted, wanted, wanted);
  return true;
exception when lock_not_available then
  return false;
end $$;

-- As in PostgreSQL, with integers for times: ms since 1970. There are no segments: ended jobs are deleted.
create table tidegate_job_kind(
  kind text primary key,
  class text not null check (class in ('high', 'medium', 'low')),
  attempts integer not null check (attempts > 0),
  ttl_ms integer check (ttl_ms > 0),
  events text not null,
  run text not null default 'running' check (run in ('running', 'paused', 'draining')),
  changed_at integer not null
) strict, without rowid;

create table tidegate_job_entry(
  place integer primary key autoincrement,
  id integer not null,
  attempt integer not null,
  attempts_left integer not null,
  kind text not null,
  body text not null,
  unique_key text,
  is_new integer not null,
  is_delayed integer not null,
  enqueued_at integer not null,
  due_at integer not null,
  expires_at integer,
  unique (id, attempt)
) strict;
create index tidegate_job_entry_due on tidegate_job_entry(kind, due_at);

create table tidegate_job_claim(
  id integer not null,
  attempt integer not null,
  number integer not null,
  kind text not null,
  worker text not null,
  at integer not null,
  leased_until integer not null,
  primary key (id, attempt, number)
) strict, without rowid;
create index tidegate_job_claim_until on tidegate_job_claim(kind, leased_until);

create table tidegate_job_end(
  id integer not null,
  attempt integer not null,
  kind text not null,
  outcome text not null check (outcome in ('done', 'retry', 'lost', 'released', 'dead', 'expired')),
  reason text,
  at integer not null,
  primary key (id, attempt)
) strict, without rowid;

create table tidegate_job_dead(
  id integer primary key,
  attempt integer not null,
  kind text not null,
  body text not null,
  reason text,
  enqueued_at integer not null,
  died_at integer not null
) strict;

create table tidegate_job_key(
  kind text not null,
  key text not null,
  is_request integer not null,
  digest integer not null,
  id integer not null,
  at integer not null,
  primary key (kind, key, is_request)
) strict, without rowid;

create table tidegate_job_total(
  kind text primary key,
  enqueued integer not null default 0,
  done integer not null default 0,
  dead integer not null default 0,
  expired integer not null default 0
) strict, without rowid;

-- The numbers of jobs, which are not used again.
create table tidegate_job_id(only_row integer primary key check (only_row = 1), last integer not null) strict;
insert into tidegate_job_id values (1, 0);

create trigger tidegate_outbox_jobs after insert on tidegate_outbox
when exists (select 1 from tidegate_job_kind k, json_each(k.events) e where e.value = new.kind)
begin
  insert into tidegate_job_entry(id, attempt, attempts_left, kind, body, is_new, is_delayed, enqueued_at, due_at, expires_at)
    select (select last from tidegate_job_id) + row_number() over (order by k.kind), 1, k.attempts, k.kind,
      json_object('order', new.checkout, 'number', new.number, 'event', new.kind, 'content', json(new.body)),
      1, 0, new.at, new.at, new.at + k.ttl_ms
    from tidegate_job_kind k where exists (select 1 from json_each(k.events) e where e.value = new.kind);
  update tidegate_job_id set last = max(last, (select coalesce(max(id), 0) from tidegate_job_entry));
end;

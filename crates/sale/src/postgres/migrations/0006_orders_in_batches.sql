-- Checkouts begin and change in batches. Each function records those requests of a batch for which all is in order, and returns
-- their numbers; `begin_checkout` and `change_checkout` decide about the others, one by one. A batch waits for no lock but those of
-- SKUs, which it takes in ascending order: rows that others have locked are left to the single functions. Rows of holds and
-- checkouts are found by their keys under any statistics of the tables: each condition names the batch's keys, and those on
-- the state and the deadline of a hold have the form of a `case`, which the index of due holds does not fit.

-- The calls to a provider are updated when their outcome is known: there is room for the new row in its page.
alter table tidegate.payment_attempt set (fillfactor = 70);

-- Each change of a checkout has a new time, and an index of it needs a new entry in all indexes of the table. Steps are only added.
drop index tidegate.checkout_changed;
create index checkout_step_at on tidegate.checkout_step using brin(at);

-- Indexes that no statement of an order uses. An event is named by its order and number; the audit reads whole tables.
alter table tidegate.outbox drop constraint outbox_pkey;
alter table tidegate.outbox replica identity using index outbox_checkout_number_key;
drop index tidegate.payment_attempt_checkout;

-- Begins checkouts, each of another hold, where neither the hold nor the key has one. paths: the phases up to the recorded one, with
-- blanks between them. attempt_checkout: the number of the checkout, from 1.
create function tidegate.begin_checkouts(
  keys text[], digests bigint[], ids text[], holds uuid[], providers text[], methods text[], amounts bigint[],
  currencies text[], laters boolean[], new_references text[], paths text[], sents boolean[], numbers bigint[],
  leases_ms bigint[], keeps_ms bigint[],
  attempt_checkout int[], attempt_keys text[], attempt_operations text[], attempt_amounts bigint[], attempt_outcomes text[])
returns int[]
language plpgsql as $$
#variable_conflict use_column
declare
  begun int[];
begin
  begin
    with wanted as materialized (
      select u.*, string_to_array(u.path, ' ') as phases, h.customer, h.expires_at
      from unnest(keys, digests, ids, holds, providers, methods, amounts, currencies, laters, new_references,
          paths, sents, numbers, leases_ms, keeps_ms) with ordinality
        u(key, digest, id, hold, provider, method, amount, currency, later, reference,
          path, sent, number, lease_ms, keep_ms, n)
      join tidegate.hold h on h.id = u.hold and h.id = any(holds)
      where case h.state when 'active' then true else false end
        and (select count(*) from tidegate.request r where r.key = u.key) = 0
        and (select count(*) from tidegate.checkout c where c.hold = u.hold) = 0),
    moment as materialized (select clock_timestamp() as now),
    free as materialized (
      select w.*, m.now + w.keep_ms * interval '1 millisecond' as until
      from wanted w, moment m
      where w.expires_at > m.now and pg_try_advisory_xact_lock(hashtextextended(w.key, 7409))),
    locked as materialized (
      select h.id from tidegate.hold h
      where h.id = any(array(select f.hold from free f where f.expires_at < f.until))
      order by h.id for no key update skip locked),
    kept as (
      update tidegate.hold h set expires_at = f.until
      from locked l join free f on f.hold = l.id, moment m
      where h.id = l.id and h.id = any(holds)
        and case h.state when 'active' then h.expires_at > m.now else false end
      returning h.id),
    good as materialized (
      select f.* from free f where f.expires_at >= f.until or f.hold in (select k.id from kept k)),
    opened as (
      insert into tidegate.checkout(id, hold, customer, digest, provider, method, amount, currency, captures_later,
        reference, phase, sent, number, operation_amount, version, tries, due_at, leased_until, created_at, changed_at)
      select g.id, g.hold, g.customer, g.digest, g.provider, g.method, g.amount, g.currency, g.later,
        g.reference, g.phases[cardinality(g.phases)], g.sent, g.number, g.amount,
        case cardinality(g.phases) when 1 then 1 else 2 end, case cardinality(g.phases) when 1 then 1 else 0 end,
        m.now, m.now + g.lease_ms * interval '1 millisecond', m.now, m.now
      -- Batches of two nodes wait for each other's holds in one order.
      from good g, moment m order by g.hold),
    stored as (
      insert into tidegate.request(key, digest, at, checkout)
      select g.key, g.digest, m.now, g.id from good g, moment m),
    step as (
      insert into tidegate.checkout_step(checkout, version, number, before, after, at)
      select g.id, 2, s.number, g.phases[s.number], g.phases[s.number + 1], m.now
      from good g, moment m, generate_series(1, cardinality(g.phases) - 1) s(number)),
    attempt as (
      insert into tidegate.payment_attempt(key, checkout, operation, amount, outcome, at, ended_at)
      select u.key, ids[u.checkout], u.operation, u.amount, u.outcome, m.now,
        case when u.outcome <> 'sent' then m.now end
      from moment m, unnest(attempt_checkout, attempt_keys, attempt_operations, attempt_amounts, attempt_outcomes)
        u(checkout, key, operation, amount, outcome)
      where (u.checkout in (select g.n from good g)) is true)
    select coalesce(array_agg(g.n::int), '{}') into begun from good g;
  exception when unique_violation then
    -- Another node began a checkout of the hold, or under the key, after this statement had begun.
    begun := '{}';
  end;
  return begun;
end $$;

-- Records changes of checkouts, each once in the batch. paths: the phases from the recorded one to the new one, with blanks
-- between them. *_change: the number of the change, from 1. event_number: the event's, within its change.
create function tidegate.change_checkouts(
  ids text[], versions bigint[], sents boolean[], ordereds boolean[], cancellings boolean[], places boolean[],
  numbers bigint[], amounts bigint[], captureds bigint[], refundeds bigint[], paths text[],
  new_references text[], reasons text[], dues_ms bigint[], leases_ms bigint[], keeps_ms bigint[],
  attempt_change int[], attempt_keys text[], attempt_operations text[], attempt_amounts bigint[], attempt_outcomes text[],
  event_change int[], event_number int[], event_kinds text[], event_bodies text[])
returns table(recorded int[], at_ms bigint)
language plpgsql as $$
#variable_conflict use_column
begin
  return query
    with read as materialized (
      select u.*, string_to_array(u.path, ' ') as phases, c.hold
      from unnest(ids, versions, sents, ordereds, cancellings, places, numbers, amounts, captureds, refundeds, paths,
          new_references, reasons, dues_ms, leases_ms, keeps_ms) with ordinality
        u(id, version, sent, ordered, cancelling, places, number, amount, captured, refunded, path,
          reference, reason, due_ms, lease_ms, keep_ms, n)
      join tidegate.checkout c on c.id = u.id and c.id = any(ids) and c.version = u.version
      order by c.id for no key update of c skip locked),
    item as materialized (
      select s.sku from tidegate.sku s
      where s.sku = any(array(select h.sku from tidegate.hold h
        where h.id = any(array(select r.hold from read r where r.places))))
      order by s.sku for no key update),
    -- The clock is read after the locks.
    moment as materialized (
      select clock_timestamp() as now from (select count(i.sku) as skus from item i) l where l.skus >= 0),
    sold as (
      update tidegate.hold h set state = 'confirmed', ended_at = m.now
      from moment m, read r
      where r.places and h.id = r.hold and h.id = any(array(select r.hold from read r where r.places))
        and h.sku is not null and case h.state when 'active' then h.expires_at > m.now else false end
      returning r.n, h.id, h.sku, h.location, h.units, h.ended_at),
    line as (
      insert into tidegate.movement_row(at, kind, sku, location, on_hand, held, sold, hold)
      select s.ended_at, 'confirmed', s.sku, s.location, 0, -s.units, s.units, s.id from sold s),
    cell as (
      update tidegate.stock t set held = t.held - w.units, sold = t.sold + w.units
      from (select s.sku, s.location, sum(s.units) as units from sold s group by s.sku, s.location) w
      where t.sku = w.sku and t.location = w.location),
    short as materialized (
      select r.n, h.id, m.now + r.keep_ms * interval '1 millisecond' as until
      from moment m, read r join tidegate.hold h on h.id = r.hold
      where r.keep_ms > 0 and not r.places and h.id = any(array(select r.hold from read r where r.keep_ms > 0))
        and case when h.state = 'active' and h.expires_at > m.now
          then h.expires_at < m.now + r.keep_ms * interval '1 millisecond' else false end),
    locked as materialized (
      select h.id from tidegate.hold h where h.id = any(array(select s.id from short s))
      order by h.id for no key update skip locked),
    kept as (
      update tidegate.hold h set expires_at = s.until
      from locked l join short s on s.id = l.id, moment m
      where h.id = l.id and h.id = any(array(select s.id from short s))
        and case h.state when 'active' then h.expires_at > m.now else false end
      returning s.n),
    -- Written as `case`, so that the server looks the numbers up in a hash table.
    good as materialized (
      select r.* from read r
      where case when r.places then r.n in (select s.n from sold s)
        else r.n not in (select s.n from short s) or r.n in (select k.n from kept k) end),
    changed as (
      update tidegate.checkout c set
        phase = g.phases[cardinality(g.phases)], sent = g.sent, ordered = g.ordered, cancelling = g.cancelling,
        number = g.number, operation_amount = g.amount, captured = g.captured, refunded = g.refunded,
        reference = coalesce(g.reference, c.reference), reason = g.reason, version = c.version + 1,
        tries = case when cardinality(g.phases) > 1 then 0 else c.tries end,
        -- A checkout that is due stays due since then: no index of it changes.
        due_at = case g.due_ms when 0 then least(c.due_at, m.now) else m.now + g.due_ms * interval '1 millisecond' end,
        leased_until = case when g.lease_ms > 0 then m.now + g.lease_ms * interval '1 millisecond' end,
        changed_at = m.now, ordered_at = case when g.places then m.now else c.ordered_at end
      from good g, moment m where c.id = g.id and c.id = any(ids)),
    step as (
      insert into tidegate.checkout_step(checkout, version, number, before, after, at)
      select g.id, g.version + 1, s.number, g.phases[s.number], g.phases[s.number + 1], m.now
      from good g, moment m, generate_series(1, cardinality(g.phases) - 1) s(number)),
    attempt as (
      insert into tidegate.payment_attempt as a(key, checkout, operation, amount, outcome, at, ended_at)
      select u.key, ids[u.change], u.operation, u.amount, u.outcome, m.now,
        case when u.outcome <> 'sent' then m.now end
      from moment m, unnest(attempt_change, attempt_keys, attempt_operations, attempt_amounts, attempt_outcomes)
        u(change, key, operation, amount, outcome)
      where (u.change in (select g.n from good g)) is true
      on conflict (key) do update set outcome = excluded.outcome, ended_at = excluded.ended_at),
    event as (
      insert into tidegate.outbox(checkout, number, kind, body, at)
      select ids[u.change], u.number + (select count(*) from tidegate.outbox o where o.checkout = ids[u.change]),
        u.kind, u.body, m.now
      from moment m, unnest(event_change, event_number, event_kinds, event_bodies) u(change, number, kind, body)
      where (u.change in (select g.n from good g)) is true)
    select coalesce(array_agg(g.n::int), '{}'), (select tidegate.ms(m.now) from moment m) from good g;
end $$;

-- Rows for a database at the first schema, in the superuser's name, whom row-level security does not hold back.

insert into tenants (id, name, spend_limit) values (%(tenant)s, 'kept', 500);
insert into api_keys (tenant_id, id, name, prefix, token_hash, scopes)
values (%(tenant)s, gen_random_uuid(), 'ci', 'rg_', '\x01', '{rentals:read}');
insert into vault_keysets (tenant_id, wrapped) values (%(tenant)s, '\x02');
insert into upstream_keys (tenant_id, id, label, ciphertext, fingerprint, last_four, is_default)
values (%(tenant)s, %(account)s, 'main', '\x03', '\x04', '1234', true);
insert into account_looks (tenant_id, upstream_key_id, looked_at) values (%(tenant)s, %(account)s, now());
insert into refresh_requests (tenant_id, id, upstream_key_id, rental_id, actor, waits_until)
    values (%(tenant)s, gen_random_uuid(), %(account)s, gen_random_uuid(), 'api_key:x', now());
insert into account_balances (tenant_id, upstream_key_id, amount, read_at)
values (%(tenant)s, %(account)s, 41.5, now());
insert into balance_readings (tenant_id, upstream_key_id, asked_at, read_at, amount)
values (%(tenant)s, %(account)s, now(), now(), 41.5);
insert into account_health (tenant_id, upstream_key_id, status, since, problems)
values (%(tenant)s, %(account)s, 'degraded', now(), '[{"method": "orders", "what": "a date"}]');
insert into money_lanes (tenant_id, upstream_key_id, fence, held_until)
values (%(tenant)s, %(account)s, 7, now());
insert into upstream_usage (tenant_id, upstream_key_id, hour, method, outcome, calls)
values (%(tenant)s, %(account)s, date_trunc('hour', now()), 'orders', 'ok', 3);

create temporary table cases on commit drop as
select kind, state, row_number() over () as n, gen_random_uuid() as operation, gen_random_uuid() as rental
from unnest(%(kinds)s::text[]) kind, unnest(%(states)s::text[]) state;

insert into rentals (tenant_id, id, upstream_key_id, status, number_state, phone_number, country, services,
    period_unit, period_count, expires_at, price, metadata, pending_operation_id, message_count)
select %(tenant)s, rental, %(account)s,
    case when kind <> 'create' then 'active' when state = 'review' then 'review' when state = 'failed' then 'failed'
        when state = 'succeeded' then 'active' else 'pending' end,
    'inactive', '+7916' || lpad(n::text, 7, '0'), 'RU', '[{"code": "opt20", "name": "WhatsApp"}]',
    'week', 1, now() + interval '7 days', 3.5, jsonb_build_object('n', n::text),
    case when state in ('queued', 'sent', 'unknown', 'review') then operation end, 1
from cases;
insert into upstream_orders (tenant_id, upstream_key_id, upstream_order_id, rental_id, service, service_name,
    phone_number, country, number_state, expires_at, status)
select %(tenant)s, %(account)s, n::text, rental, 'opt20', 'WhatsApp', '+7916' || lpad(n::text, 7, '0'), 'RU',
    'inactive', now() + interval '7 days',
    (array['listed', 'expired', 'deleted', 'replaced'])[case when kind = 'create' then 1 + n %% 4 else 1 end]
from cases;
insert into operations (tenant_id, id, kind, state, upstream_key_id, rental_id, request, price, error,
    candidates, actor, attended_until, sent_at, settled_at)
select %(tenant)s, operation, kind, state, %(account)s, rental,
    case kind when 'create' then jsonb_build_object('service', 'opt20', 'country', 'RU', 'metadata', '{}'::jsonb)
        else jsonb_build_object('orders', jsonb_build_array(jsonb_build_object(
            'id', n::text, 'service', 'opt20', 'expires_at', null, 'price', '3.50'))) end,
    case when kind in ('create', 'restore', 'prolong', 'add_service') then 3.5 end,
    case when state = 'failed' then '{"code": "purchase_not_made"}'::jsonb end,
    case when state = 'review' then '[]'::jsonb end,
    'api_key:ci', now(), case when state <> 'queued' then now() end,
    case when state in ('succeeded', 'failed') then now() end
from cases;
insert into spending_holds (tenant_id, operation_id, month, amount, state)
select %(tenant)s, operation, date_trunc('month', now()), 3.5,
    case state when 'succeeded' then 'spent' when 'failed' then 'released' else 'held' end
from cases where kind in ('create', 'restore', 'prolong', 'add_service');
insert into spending_months (tenant_id, month, held, spent)
select %(tenant)s, date_trunc('month', now()), coalesce(sum(amount) filter (where state = 'held'), 0),
    coalesce(sum(amount) filter (where state = 'spent'), 0) from spending_holds;
insert into messages (tenant_id, rental_id, position, rented_position, id, scope, sender, text, digest, occurrence)
select %(tenant)s, rental, 1, 1, gen_random_uuid(), 'rented', 'WhatsApp', 'code ' || n, '\x05', 1 from cases;
insert into idempotency_keys (tenant_id, key, request_hash, holder, held_until, operation_id, status, body)
select %(tenant)s, 'key-' || n, '\x06', gen_random_uuid(), now(), operation, 201, '{"id": "kept"}' from cases;

insert into webhooks (tenant_id, id, url, events, secret)
values (%(tenant)s, %(webhook)s, 'https://hooks.example/', '{*}', '\x07');
insert into webhook_schedules (tenant_id, webhook_id, due_at) values (%(tenant)s, %(webhook)s, now());
insert into events (tenant_id, id, position, type, rental_id, actor, data)
select %(tenant)s, gen_random_uuid(), n, 'rental.created', rental, 'worker', '{}' from cases;
insert into event_heads (tenant_id, position) select %(tenant)s, max(position) from events;
insert into webhook_deliveries (tenant_id, id, webhook_id, event_id, event_type, rental_id, position, status,
    attempts)
select %(tenant)s, gen_random_uuid(), %(webhook)s, id, type, rental_id, position,
    (array['pending', 'delivered', 'failed'])[1 + position %% 3], position %% 3 from events;

insert into audit_logs (tenant_id, id, actor, action, outcome, details)
values (%(tenant)s, gen_random_uuid(), 'api_key:ci', 'operation.create', 'succeeded', '{}'),
    (%(tenant)s, gen_random_uuid(), 'api_key:ci', 'operation.create', 'failed', '{}');
insert into audit_unsealed (tenant_id, audit_id) select tenant_id, id from audit_logs where outcome = 'failed';
insert into audit_seals (tenant_id, position, audit_id, hash, sealed_at)
select tenant_id, 1, id, '\x08', now() from audit_logs where outcome = 'succeeded';
insert into audit_heads (tenant_id, position, hash, pruned_hash) values (%(tenant)s, 1, '\x08', '\x00');
insert into platform_keys (id, name, prefix, token_hash, scopes)
values (gen_random_uuid(), 'platform', 'rp_', '\x09', '{tenants:read}');
insert into vault_fingerprint_keys (name, wrapped) values ('fingerprints', '\x0a');
insert into vault_rotations (id, kind, target, total) values (gen_random_uuid(), 'key', 'new', 1);
insert into pace_buckets (name, tokens, credit, refilled_at, promised_until, contended_until)
values ('global', 1, 0, 0, 0, 0);
insert into workers (id, alive_until) values (gen_random_uuid(), now());

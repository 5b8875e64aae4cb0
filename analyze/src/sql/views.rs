//! The views: tables that are queries of other tables, so that projections and filters go through to those.

/// `processes`: the rows of the files that tell of processes.
const PROCESSES: &str = "\
create view processes as
select file, host, time, pid, action, service, executable, command_line, parent, started, runtime, container, cgroup
from events
where kind = 'process' and carried is null";

/// `concurrency`: how many requests were under way, after every start and every end of one. Requests whose end was not seen
/// would be under way for ever: they are left out. What ends at a moment does so before what starts then.
const CONCURRENCY: &str = "\
create view concurrency as
select host, service, kind, time, step, sum(step) over (
           partition by host, service, kind order by time, step rows between unbounded preceding and current row
       ) as in_flight
from (
    select host, service, kind, step, case when step = 1 then start_time else end_time end as time
    from (values (1), (-1)) as steps (step) cross join requests
    where end_time is not null
)";

/// `otel_requests`: requests under the names of OpenTelemetry's attributes, as docs/otlp.md has them.
const OTEL_REQUESTS: &str = r#"
create view otel_requests as
select trace_id,
       span_id,
       parent_id as parent_span_id,
       trace_state,
       upper(kind) as kind,
       case when protocol in ('grpc', 'grpc-web') then path
            when method is null then null
            when method in ('CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'QUERY', 'TRACE')
            then concat_ws(' ', method, route)
            else concat_ws(' ', 'HTTP', route) end as name,
       upper(span_status) as status,
       start_time,
       end_time,
       duration_ms / 1000 as duration,
       coalesce(service, 'unknown_service') as "service.name",
       host as "host.name",
       pid as "process.pid",
       tid as "thread.id",
       case when protocol in ('grpc', 'grpc-web') then null
            when method in ('CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'QUERY', 'TRACE')
            then method
            when method is not null then '_OTHER' end as "http.request.method",
       case when protocol not in ('grpc', 'grpc-web')
             and method not in ('CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'QUERY', 'TRACE')
            then method end as "http.request.method_original",
       case when protocol not in ('grpc', 'grpc-web') then route end as "http.route",
       case when protocol not in ('grpc', 'grpc-web') then scheme end as "url.scheme",
       case when protocol not in ('grpc', 'grpc-web') then path end as "url.path",
       case when protocol not in ('grpc', 'grpc-web') then query end as "url.query",
       status as "http.response.status_code",
       request_bytes as "http.request.body.size",
       response_bytes as "http.response.body.size",
       user_agent as "user_agent.original",
       case when protocol in ('grpc', 'grpc-web') then 'grpc' end as "rpc.system",
       rpc_service as "rpc.service",
       rpc_method as "rpc.method",
       rpc_status as "rpc.grpc.status_code",
       case protocol when 'http/1.0' then '1.0' when 'http/1.1' then '1.1' when 'http/2' then '2' when 'grpc' then '2'
            end as "network.protocol.version",
       coalesce(nullif(case when split_part(authority, '@', -1) like '[%'
                            then split_part(substr(split_part(authority, '@', -1), 2), ']', 1)
                            else split_part(split_part(authority, '@', -1), ':', 1) end, ''),
                server_address) as "server.address",
       server_port as "server.port",
       client_address as "client.address",
       client_port as "client.port",
       case kind when 'server' then client_address else server_address end as "network.peer.address",
       case kind when 'server' then client_port else server_port end as "network.peer.port",
       case when span_status <> 'error' then null
            when rpc_status > 0 then case rpc_status
                when 1 then 'CANCELLED' when 2 then 'UNKNOWN' when 3 then 'INVALID_ARGUMENT'
                when 4 then 'DEADLINE_EXCEEDED' when 5 then 'NOT_FOUND' when 6 then 'ALREADY_EXISTS'
                when 7 then 'PERMISSION_DENIED' when 8 then 'RESOURCE_EXHAUSTED' when 9 then 'FAILED_PRECONDITION'
                when 10 then 'ABORTED' when 11 then 'OUT_OF_RANGE' when 12 then 'UNIMPLEMENTED'
                when 13 then 'INTERNAL' when 14 then 'UNAVAILABLE' when 15 then 'DATA_LOSS'
                when 16 then 'UNAUTHENTICATED' else cast(rpc_status as varchar) end
            when status >= 400 then cast(status as varchar)
            else end_reason end as "error.type",
       nullif(end_reason, 'response') as "beyla.end_reason"
from requests"#;

/// The statements that make them.
pub(super) const VIEWS: [&str; 3] = [PROCESSES, CONCURRENCY, OTEL_REQUESTS];

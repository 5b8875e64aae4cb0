import { check, sleep } from 'k6';
import { SharedArray } from 'k6/data';
import exec from 'k6/execution';
import http from 'k6/http';
import { Trend } from 'k6/metrics';

// k6 run -e BASE_URL=http://localhost:8080 -e SPEED=2 THIS_FILE
//
// BASE_URL   where to send the requests, instead of where they were sent
// SPEED      how many times faster than recorded
// VUS        virtual users; as many as there were requests at the same time, and some more, if not given
// TOLERANCE  fail when the 95th percentile of the duration is more than so many times the recorded one
//
// Every request is sent when it was recorded, whatever became of those before it. When the virtual users do not suffice for
// that, replay_late says by how much. Method, path, query, user agent and content type are as recorded. Not reproduced:
// bodies, other header fields, connections.


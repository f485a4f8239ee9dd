package main

// j are the workers that are looked at.
const j = `{job=~"$job",instance=~"$instance"}`

// watched is what eventworker dlq watch says of the jobs that are looked at; it is no worker.
const watched = `{job=~"$job"}`

// marks are the annotations: what happened to the workers, over every curve.
func marks() []annotation {
	mark := func(name, colour, expr, title string) annotation {
		return annotation{Name: name, Datasource: source, Enable: true, Expr: expr, IconColor: colour, Step: "60s", TitleFormat: title, TagKeys: "job"}
	}
	return []annotation{
		mark("Versions", "blue", `count by (job, version) (eventworker_build_info{job=~"$job"}) unless count by (job, version) (eventworker_build_info{job=~"$job"} offset 2m)`, "Version {{version}}"),
		mark("Restarts", "purple", `changes(process_start_time_seconds{job=~"$job"}[2m]) > 0`, "Restart of {{instance}}"),
		mark("Rebalances", "orange", `sum by (job) (increase(eventworker_generations_total{job=~"$job"}[1m])) > 0`, "Rebalance"),
		mark("Reloads", "green", `changes(eventworker_config_last_reload_success_timestamp_seconds{job=~"$job"}[1m]) > 0`, "Configuration of {{instance}} reloaded"),
		mark("Replays", "yellow", `sum by (job, topic) (eventworker_partition_lag_messages{job=~"$job",topic=~".*replay.*"}) > 0`, "Replay: {{topic}} is being read"),
	}
}

func rows() []row {
	return []row{wellRow(), stuckRow(), refusedRow(), partitionsRow(), attributionRow(), configurationRow(), processRow(), storeRow(), kafkaRow()}
}

func wellRow() row {
	return row{title: "Is it well?", panels: []view{
		{
			id: 1, title: "Messages per second: what comes in, and what becomes of it", width: 12, unit: "short", stack: true, line: []string{"received"},
			good: "the stack reaches the line: what is received is settled.",
			act:  "a gap between them is what waits: see lag and requests. Much released: the group rebalances often.",
			draw: []query{
				{`sum(rate(eventworker_messages_delivered_total` + j + `[$__rate_interval]))`, "delivered"},
				{`sum(rate(eventworker_messages_absorbed_total` + j + `[$__rate_interval]))`, "absorbed"},
				{`sum(rate(eventworker_messages_dead_lettered_total` + j + `[$__rate_interval]))`, "dead-lettered"},
				{`sum(rate(eventworker_messages_released_total` + j + `[$__rate_interval]))`, "released"},
				{`sum(rate(eventworker_messages_received_total` + j + `[$__rate_interval]))`, "received"},
			},
		},
		{
			id: 3, title: "Lag in seconds, the worst partition of each topic", width: 6, unit: "s", steps: levels(120, 900),
			good: "below 10 s; during a deploy and after a pause it goes up and comes down.",
			act:  "if requests fail, see the row below; if one partition stands out, see the partitions. It is the age of the oldest unsettled message; a topic without messages has 0.",
			draw: []query{{`max by (topic) (eventworker_partition_lag_seconds` + j + `)`, "{{topic}}"}},
		},
		{
			id: 4, title: "Oldest unsettled event, against the API's limit", width: 6, unit: "percentunit", max: 1, steps: levels(0.5, 0.8),
			good: "a few per mille.",
			act:  "at 100 % the event leaves as a dead letter that the API would not take any more: mend what holds it up before that. The limit is delivery.max_event_age.",
			draw: []query{{`max by (job) (eventworker_oldest_unsettled_age_seconds` + j + `) / max by (job) (eventworker_max_event_age_seconds` + j + `)`, "{{job}}"}},
		},
		{
			id: 2, kind: "stat", title: "Workers", width: 4, unit: "short",
			good: "ready is all of them.",
			act:  "/readyz of the one that is not names what is missing; while what its store lacks is read again from Kafka it is not ready either.",
			draw: []query{{`sum(eventworker_ready` + j + `)`, "ready"}, {`count(eventworker_ready` + j + `)`, "running"}, {`sum(eventworker_live` + j + `)`, "live"}},
		},
		{
			id: 5, kind: "state-timeline", title: "Insights API, by application", width: 8,
			good:   "taking events.",
			act:    "open: nothing but probes is sent, the API is away or refuses everything; nothing is lost. Misconfigured: the key, the application's id or the endpoint is wrong, and only a person helps. docs/delivery.md.",
			states: map[string][2]string{"0": {"takes events", "green"}, "1": {"breaker open", "orange"}, "2": {"misconfigured", "red"}},
			draw:   []query{{`max by (application) (eventworker_breaker_open` + j + ` + eventworker_misconfigured` + j + `)`, "{{application}}"}},
		},
		{
			id: 7, title: "Share of dead letters", width: 8, unit: "percentunit", steps: levels(0.001, 0.01),
			good: "below 0.1 %.",
			act:  "see which reasons, below, then which causes: eventworker dlq stats.",
			draw: []query{{`sum by (job) (rate(eventworker_messages_dead_lettered_total` + j + `[$__rate_interval])) / (sum by (job) (rate(eventworker_messages_delivered_total` + j + `[$__rate_interval])) + sum by (job) (rate(eventworker_messages_dead_lettered_total` + j + `[$__rate_interval])) + sum by (job) (rate(eventworker_messages_absorbed_total` + j + `[$__rate_interval])))`, "{{job}}"}},
		},
		{
			id: 6, kind: "stat", title: "Conservation gap", width: 4, unit: "short", steps: []step{{"green", nil}, {"red", new(float64(1))}},
			good: "0, always.",
			act:  "anything else is a defect of eventworker: keep the log and report it.",
			draw: []query{{`sum(abs(eventworker_messages_conservation_gap` + j + `))`, "messages"}},
		},
	}}
}

// quantiles are the median and the 99th percentile of a histogram.
func quantiles(metric, by, legend string) []query {
	of := func(q, name string) query {
		return query{`histogram_quantile(` + q + `, sum by (le` + by + `) (rate(` + metric + `_bucket` + j + `[$__rate_interval])))`, legend + name}
	}
	return []query{of("0.5", "p50"), of("0.99", "p99")}
}

func stuckRow() row {
	return row{title: "Where is it stuck?", panels: []view{
		{
			id: 8, title: "Time until events are accepted", width: 8, unit: "s", steps: levels(60, 900),
			good: "p99 of seconds, mostly batch.linger and the request; from event time the storefront's share is in it.",
			act:  "if requests are quick, the worker waits for the log (join.wait, allowed_lateness) or for the budget.",
			draw: append(quantiles("eventworker_delivery_latency_seconds", "", "from the record, "), quantiles("eventworker_event_latency_seconds", "", "from the event, ")...),
		},
		{
			id: 9, title: "Requests per second, by answer, and repeats", width: 8, unit: "reqps", stack: true, line: []string{"repeats"},
			good: "2xx; repeats near 0.",
			act:  "429 and 5xx pass: the worker slows down by itself. 400 and 422: an event was refused, and its batch is taken apart. 401, 403, 404: misconfigured. none: the network, or delivery.timeout.",
			draw: []query{{`sum by (class) (rate(eventworker_requests_total` + j + `[$__rate_interval]))`, "{{class}}"}, {`sum(rate(eventworker_retries_total` + j + `[$__rate_interval]))`, "repeats"}},
		},
		{
			id: 10, title: "Time of a request", width: 8, unit: "s",
			good: "50 to 500 ms, steady.",
			act:  "slower with more requests on the wire: the worker finds that out, and takes fewer. Near delivery.timeout: the network, or Algolia.",
			draw: quantiles("eventworker_request_duration_seconds", ", application", "{{application}} "),
		},
		{
			id: 11, title: "Requests on the wire, against what is useful", width: 8, unit: "short",
			good: "below the limit, which is at most delivery.max_in_flight.",
			act:  "at the limit with lag: the API takes no more. A small limit: it answers 429 or 5xx, or gets slower; ask Algolia for more before adding workers.",
			draw: []query{{`sum by (application) (eventworker_requests_in_flight` + j + `)`, "{{application}} on the wire"}, {`sum by (application) (eventworker_requests_in_flight_limit` + j + `)`, "{{application}} limit"}},
		},
		{
			id: 12, title: "Memory budget used, and share of time without fetching", width: 8, unit: "percentunit", max: 1, steps: levels(0.9, 1),
			good: "both well below 90 %, but while a backlog is read.",
			act:  "full for long: the API is the bottleneck (see requests), or memory.budget is too small for the number of partitions.",
			draw: []query{{`max by (instance) (eventworker_budget_used_bytes` + j + ` / eventworker_budget_bytes` + j + `)`, "budget, {{instance}}"}, {`max by (instance) (rate(eventworker_fetch_paused_seconds_total` + j + `[$__rate_interval]))`, "paused, {{instance}}"}},
		},
		{
			id: 13, title: "Batches per second, by what sealed them", width: 8, unit: "short", stack: true,
			good: "under load mostly count or bytes, at night linger.",
			act:  "mostly linger under load: batch.linger is too short, or there are too many workers for the traffic.",
			draw: []query{{`sum by (trigger) (rate(eventworker_batches_total` + j + `[$__rate_interval]))`, "{{trigger}}"}},
		},
	}}
}

func refusedRow() row {
	return row{title: "What is refused?", panels: append(refusals(), readBack()...)}
}

// refusals are what the workers say.
func refusals() []view {
	return []view{
		{
			id: 20, title: "Dead letters per minute, by reason", width: 8, unit: "short", stack: true,
			good: "none, or a steady trickle that somebody has looked at.",
			act:  "malformed, invalid, unknown-type, future, too-old: the storefront's team. rejected, expired, no-index, unknown-application, too-large: ours. docs/dead-letters.md.",
			draw: []query{{`60 * sum by (reason) (rate(eventworker_messages_dead_lettered_total` + j + `[$__rate_interval]))`, "{{reason}}"}},
		},
		{
			id: 23, title: "Events that will not be delivered, per minute", width: 8, unit: "short", stack: true,
			good: "none.",
			act:  "rejected: the API's words are in the dead letter. expired: something was away for longer than the API takes events.",
			draw: []query{{`60 * sum by (application, outcome) (rate(eventworker_events_refused_total` + j + `[$__rate_interval]))`, "{{application}} {{outcome}}"}},
		},
		{
			id: 24, title: "Events accepted per second, by type", width: 8, unit: "short", stack: true,
			good: "as the shop's traffic: mostly views, some clicks, few purchases.",
			act:  "a type that is gone: the storefront has stopped publishing it, or it is refused.",
			draw: []query{{`sum by (type) (rate(eventworker_events_delivered_total` + j + `[$__rate_interval]))`, "{{type}}"}},
		},
		{
			id: 21, title: "Writing dead letters", width: 12, unit: "short",
			good: "no failures, hardly any pending.",
			act:  "failures: does the topic exist, may the user write, is a record larger than max.message.bytes? What is pending holds up its partitions.",
			draw: []query{{`60 * sum(rate(eventworker_dead_letter_writes_total` + j + `[$__rate_interval]))`, "written per minute"}, {`60 * sum(rate(eventworker_dead_letter_write_failures_total` + j + `[$__rate_interval]))`, "failed per minute"}, {`sum(eventworker_dead_letter_pending` + j + `)`, "pending"}},
		},
		{
			id: 17, title: "Replay: messages of the replay topic still to be read", width: 12, unit: "short",
			good: "0, or going down at the replay's rate.",
			act:  "standing still: see the partitions. How a replay went, and what became dead again: eventworker dlq verify ID. Only topics with replay in their names are shown.",
			draw: []query{{`sum by (topic) (eventworker_partition_lag_messages{job=~"$job",instance=~"$instance",topic=~".*replay.*"})`, "{{topic}}"}},
		},
	}
}

// readBack are what eventworker dlq watch says.
func readBack() []view {
	return []view{
		{
			id: 46, title: "Open dead letters that can soon no longer be replayed", width: 8, unit: "short", steps: levels(1, 1000),
			good: "none: each letter was replayed or discarded in time.",
			act:  "decide while there is time: replay them, or discard them with a note (docs/alerts.md, EventworkerDeadLettersExpire). " + needsWatch,
			draw: []query{
				{`max by (within) (eventworker_dead_letters_expiring` + watched + `)`, "within {{within}}"},
				{`max(eventworker_dead_letters_unreplayable` + watched + `)`, "no longer"},
			},
		},
		{
			id: 48, title: "Newest replay: progress, and share that is dead again", width: 8, unit: "percentunit", max: 1,
			good: "progress goes to 1, dead again stays at 0.",
			act:  "dead again: eventworker dlq verify ID says of which causes, the repair did not repair them. Progress stands still: see the replay topic beside this. " + needsWatch,
			draw: []query{
				{`max(job:eventworker_replay_progress:ratio` + watched + `)`, "progress"},
				{`max(job:eventworker_replayed_dead:ratio` + watched + `)`, "dead again"},
			},
		},
		{
			id: 47, title: "Causes of dead letters, and messages that are dead again", width: 8, unit: "short",
			good: "few causes, no new ones, none that are back.",
			act:  "new or back: eventworker dlq stats marks which, /statusz of dlq watch names the ten most frequent. Parked ones are replayed by nobody any more. " + needsWatch,
			draw: []query{
				{`max(eventworker_dead_letter_causes` + watched + `)`, "causes"},
				{`max(eventworker_dead_letter_new_causes` + watched + `)`, "new causes"},
				{`max(eventworker_dead_letter_new_cause_letters` + watched + `)`, "letters in 15 min of a new cause"},
				{`max(eventworker_dead_letter_returned_causes` + watched + `)`, "causes that are back"},
				{`max(eventworker_dead_letters_returned` + watched + `)`, "letters that are dead again"},
				{`max(eventworker_dead_letters_parked_last_hour` + watched + `)`, "parked in the last hour"},
			},
		},
		{
			id: 45, title: "Open dead letters, by reason", width: 8, unit: "short", stack: true,
			good: "few, and going down: somebody works on them.",
			act:  "eventworker dlq stats says what they are, docs/dead-letters.md what to do for each reason. " + needsWatch,
			draw: []query{{`max by (reason) (eventworker_dead_letters_open` + watched + `)`, "{{reason}}"}},
		},
		{
			id: 50, title: "What became of dead letters, and of replayed messages", width: 8, unit: "short",
			good: "open goes down; what was replayed is delivered, duplicate or absorbed; nothing is left out.",
			act:  "many dead after replays: repair before the next one, and try it with --canary. Left out: the topic holds more than --max-letters of dlq watch. " + needsWatch,
			draw: []query{
				{`max by (state) (eventworker_dead_letters` + watched + `)`, "letters {{state}}"},
				{`max by (outcome) (eventworker_replayed_messages` + watched + `)`, "replayed messages {{outcome}}"},
				{`max by (outcome) (eventworker_last_replay_messages` + watched + `)`, "newest replay {{outcome}}"},
				{`max(eventworker_dead_letter_scan_left_out_letters` + watched + `)`, "letters left out"},
			},
		},
		{
			id: 49, title: "Reading dead letters: age and time of the last scan", width: 8, unit: "s",
			good: "an age of about --every, a time of less than a second.",
			act:  "the age grows: dlq watch does not reach the brokers, see its log. " + needsWatch,
			draw: []query{
				{`time() - max(eventworker_dead_letter_scan_timestamp_seconds` + watched + `)`, "age"},
				{`max(eventworker_dead_letter_scan_duration_seconds` + watched + `)`, "time"},
			},
		},
	}
}

// needsWatch says who gives a panel its numbers.
const needsWatch = "Empty: no eventworker dlq watch is scraped."

func partitionsRow() row {
	return row{title: "Which partition?", panels: []view{
		{
			id: 22, title: "Partitions by state", width: 8, unit: "short", stack: true,
			good: "all ok; warn while a backlog or what the store lacks is read.",
			act:  "stop: there is a known reason, /statusz names it (the API, the store, a pause). stall: no known reason; the oldest message holds it up. rewind: somebody reset the group.",
			draw: []query{{`sum by (state) (eventworker_partitions` + j + `)`, "{{state}}"}},
		},
		{
			id: 27, title: "Lag in messages, by topic", width: 8, unit: "short",
			good: "0 to a few thousand.",
			act:  "seconds count, not messages; this says how much work is left.",
			draw: []query{{`sum by (topic) (eventworker_partition_lag_messages` + j + `)`, "{{topic}}"}},
		},
		{
			id: 26, title: "Held up by one message: the ten worst partitions", width: 8, unit: "short",
			good: "0 to a few thousand, moving.",
			act:  "growing: the oldest message of the partition is not settled. /statusz names it and why; eventworker group skip makes exactly that one a dead letter.",
			draw: []query{{`topk(10, eventworker_partition_frontier_lag_messages` + j + `)`, "{{topic}}/{{partition}}"}},
		},
		{
			id: 25, kind: "table", title: "Partitions, the one furthest behind first", width: 24,
			good: "seconds near 0.",
			act:  "one that stands out has a message that is not settled, or a busy user; all of one worker: look at that worker.",
			draw: []query{
				{`max by (topic, partition, instance) (eventworker_partition_lag_seconds` + j + `)`, ""},
				{`max by (topic, partition, instance) (eventworker_partition_lag_messages` + j + `)`, ""},
				{`max by (topic, partition, instance) (eventworker_partition_frontier_lag_messages` + j + `)`, ""},
				{`max by (topic, partition, instance) (eventworker_partition_waiting` + j + `)`, ""},
			},
			format: partitionTable,
		},
		{
			id: 28, title: "Messages that retention removed before they were read", width: 24, unit: "short",
			good: "0, always.",
			act:  "they are gone. The log names the offsets; make retention longer than the longest pause you want to survive.",
			draw: []query{{`sum by (topic) (increase(eventworker_messages_lost_total` + j + `[$__rate_interval]))`, "{{topic}}"}},
		},
	}}
}

// partitionTable joins the four queries into a line for each partition.
func partitionTable(p *panel) {
	p.Transformations = []transformation{
		{ID: "merge", Options: map[string]any{}},
		{ID: "organize", Options: map[string]any{
			"excludeByName": map[string]any{"Time": true},
			"renameByName": map[string]any{
				"Value #A": "lag, seconds", "Value #B": "lag, messages", "Value #C": "held up by the oldest", "Value #D": "waits for others", "instance": "worker",
			},
		}},
	}
	p.Options = map[string]any{"showHeader": true, "sortBy": []any{map[string]any{"displayName": "lag, seconds", "desc": true}}}
	p.FieldConfig.Overrides = []override{{Matcher: matcher{ID: "byName", Options: "lag, seconds"}, Properties: []property{{ID: "unit", Value: "s"}, {ID: "decimals", Value: 0}}}}
}

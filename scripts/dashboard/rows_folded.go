package main

// The rows that are folded: looked at when the first four have named a suspect.

func attributionRow() row {
	return row{title: "Attribution", folded: true, panels: []view{
		{
			id: 15, title: "Objects and items, by what gave them a queryID", width: 8, unit: "percentunit", stack: true, max: 1,
			good: "as steady as the shop; plain are those that no recommendation led to.",
			act:  "plain grows suddenly: has the storefront stopped asking with clickAnalytics, changed its userToken or its partitioner? See the hints beside this.",
			draw: []query{{`sum by (result) (rate(eventworker_lookups_total` + j + `[$__rate_interval])) / ignoring (result) group_left sum(rate(eventworker_lookups_total` + j + `[$__rate_interval]))`, "{{result}}"}},
		},
		{
			id: 14, title: "Oddities that cost attribution, per minute", width: 8, unit: "short",
			good: "none.",
			act:  "docs/metrics.md explains each. not_keyed and wrong_partition: the storefront's producer does not key by userToken with murmur2.",
			draw: []query{{`60 * sum by (hint) (rate(eventworker_hints_total` + j + `[$__rate_interval]))`, "{{hint}}"}},
		},
		{
			id: 18, title: "Share that has a queryID, by type and model", width: 8, unit: "percentunit", max: 1,
			good: "steady; clicks near 1, what is bought lower.",
			act:  "one type falls: its service writes another userToken or partitions otherwise. One model falls: that widget no longer publishes what it shows.",
			draw: []query{{`sum by (type, model) (rate(eventworker_attributed_objects_total{job=~"$job",instance=~"$instance",result="matched"}[$__rate_interval])) / sum by (type, model) (rate(eventworker_attributed_objects_total` + j + `[$__rate_interval]))`, "{{type}}, {{model}}"}},
		},
		{
			id: 19, kind: "state-timeline", title: "Does the storefront spoil attribution?", width: 8,
			good:   "no, for every cause.",
			act:    "docs/metrics.md explains each cause, docs/storefront.md what the storefront has to do; the log names it with its share.",
			states: map[string][2]string{"0": {"no", "green"}, "1": {"yes", "orange"}},
			draw:   []query{{`max by (cause) (eventworker_attribution_trouble` + j + `)`, "{{cause}}"}},
		},
		{
			id: 29, title: "How much earlier the impression or the click was", width: 8, unit: "s",
			good: "far below join.window and join.click_window.",
			act:  "p99 near the window: a longer one would match more; far below it: a shorter one would save store.",
			draw: quantiles("eventworker_match_age_seconds", ", by", "{{by}} "),
		},
		{
			id: 16, title: "Messages that wait for the log, and impressions stored per second", width: 8, unit: "short",
			good: "waiting is about the traffic of join.allowed_lateness.",
			act:  "waiting grows: a partition of the task stands still or is paused, so nobody knows whether an impression is still to come.",
			draw: []query{{`sum(eventworker_join_waiting_messages` + j + `)`, "waiting"}, {`sum(rate(eventworker_impressions_total` + j + `[$__rate_interval]))`, "impressions per second"}},
		},
	}}
}

func configurationRow() row {
	return row{title: "Version and configuration", folded: true, panels: []view{
		{
			id: 30, kind: "table", title: "Workers: version, configuration, last reload", width: 24,
			good: "one version and one number of the configuration, but during a roll.",
			act:  "a reload that was refused (0): its reason is in the worker's log. Different numbers: roll, or reload the others.",
			draw: []query{
				{`max by (job, instance, version, commit, go) (eventworker_build_info` + j + `)`, ""},
				{`max by (job, instance) (eventworker_config_hash` + j + `)`, ""},
				{`max by (job, instance) (eventworker_config_last_reload_successful` + j + `)`, ""},
				{`max by (job, instance) (eventworker_config_last_reload_success_timestamp_seconds` + j + ` * 1000)`, ""},
			},
			format: versionTable,
		},
	}}
}

func versionTable(p *panel) {
	p.Transformations = []transformation{
		{ID: "merge", Options: map[string]any{}},
		{ID: "organize", Options: map[string]any{
			"excludeByName": map[string]any{"Time": true, "Value #A": true},
			"renameByName":  map[string]any{"Value #B": "configuration", "Value #C": "last reload worked", "Value #D": "in force since", "instance": "worker"},
		}},
	}
	p.Options = map[string]any{"showHeader": true}
	p.FieldConfig.Overrides = []override{
		{Matcher: matcher{ID: "byName", Options: "in force since"}, Properties: []property{{ID: "unit", Value: "dateTimeAsIso"}}},
		{Matcher: matcher{ID: "byName", Options: "configuration"}, Properties: []property{{ID: "unit", Value: "none"}, {ID: "decimals", Value: 0}}},
	}
}

func processRow() row {
	return row{title: "Process", folded: true, panels: []view{
		{
			id: 31, title: "CPU", width: 6, unit: "short",
			good: "a few µs a message: docs/performance.md.",
			act:  "near the number of cores with lag: more workers, up to the number of partitions.",
			draw: []query{{`rate(process_cpu_seconds_total` + j + `[$__rate_interval])`, "{{instance}}"}},
		},
		{
			id: 32, title: "Memory", width: 6, unit: "bytes",
			good: "steady, below the container's limit.",
			act:  "docs/sizing.md says what it is made of: memory.budget, store.memory, and what Go adds.",
			draw: []query{{`process_resident_memory_bytes` + j, "resident, {{instance}}"}, {`go_memstats_heap_inuse_bytes` + j, "heap, {{instance}}"}},
		},
		{
			id: 34, title: "Garbage collection: longest pause, and goroutines", width: 6, unit: "short",
			good: "pauses of milliseconds; goroutines steady.",
			act:  "goroutines that grow are a defect: keep /debug/pprof/goroutine (admin.pprof).",
			draw: []query{{`max by (instance) (go_gc_duration_seconds{job=~"$job",instance=~"$instance",quantile="1"})`, "pause in s, {{instance}}"}, {`go_goroutines` + j, "goroutines, {{instance}}"}},
		},
		{
			id: 35, title: "Open files, of those allowed; log lines left out", width: 6, unit: "short",
			good: "files far below their limit; no lines left out.",
			act:  "many files: a store with very many segments, or connections that leak. Lines left out: something repeats itself, see the log.",
			draw: []query{{`process_open_fds` + j + ` / process_max_fds` + j, "share of files, {{instance}}"}, {`60 * sum by (instance) (rate(eventworker_log_lines_suppressed_total` + j + `[$__rate_interval]))`, "lines per minute, {{instance}}"}},
		},
	}}
}

func storeRow() row {
	return row{title: "Store", folded: true, panels: []view{
		{
			id: 33, title: "Size, by place", width: 6, unit: "bytes",
			good: "steady after join.window.",
			act:  "the disk's share is the traffic of the window: docs/sizing.md. A full disk stops its tasks.",
			draw: []query{{`sum by (instance, place) (eventworker_store_bytes` + j + `)`, "{{place}}, {{instance}}"}},
		},
		{
			id: 36, title: "Time to make it durable", width: 6, unit: "s",
			good: "milliseconds.",
			act:  "slow: the volume. Commits wait for it, delivery does not.",
			draw: quantiles("eventworker_store_sync_duration_seconds", "", ""),
		},
		{
			id: 37, title: "Reads answered from memory", width: 6, unit: "percentunit", max: 1,
			good: "most: clicks follow what was shown soon.",
			act:  "low: store.memory is small for the traffic; each other read costs a read of the disk.",
			draw: []query{{`sum by (instance) (rate(eventworker_store_reads_total{job=~"$job",instance=~"$instance",place="memory"}[$__rate_interval])) / sum by (instance) (rate(eventworker_store_reads_total` + j + `[$__rate_interval]))`, "{{instance}}"}},
		},
		{
			id: 38, title: "Users and files", width: 6, unit: "short",
			good: "steady after join.window.",
			act:  "users cost memory in the index: docs/sizing.md.",
			draw: []query{{`sum by (instance) (eventworker_store_users` + j + `)`, "users, {{instance}}"}, {`sum by (instance) (eventworker_store_segments` + j + `)`, "files, {{instance}}"}},
		},
		{
			id: 39, title: "Records written per second, by kind", width: 12, unit: "short", stack: true,
			good: "as the traffic.",
			act:  "no impressions while lists are shown: the storefront's clickAnalytics is off.",
			draw: []query{{`sum by (kind) (rate(eventworker_store_records_total` + j + `[$__rate_interval]))`, "{{kind}}"}},
		},
		{
			id: 44, title: "Restored, damaged, let go", width: 12, unit: "short",
			good: "restored after a start or a rebalance only; never damaged; never let go.",
			act:  "damaged: look at the disk. Let go: raise store.memory of the memory store, attribution is being lost.",
			draw: []query{
				{`sum(rate(eventworker_store_restored_messages_total` + j + `[$__rate_interval]))`, "messages restored per second"},
				{`sum(increase(eventworker_store_damaged_bytes_total` + j + `[$__rate_interval]))`, "bytes damaged"},
				{`sum(rate(eventworker_store_dropped_records_total` + j + `[$__rate_interval]))`, "records let go per second"},
			},
		},
	}}
}

func kafkaRow() row {
	return row{title: "Kafka", folded: true, panels: []view{
		{
			id: 40, title: "Fetched, compressed", width: 6, unit: "Bps",
			good: "as the traffic.",
			act:  "none with lag: paused, or the brokers are away.",
			draw: []query{{`sum by (instance) (rate(eventworker_fetched_bytes_total` + j + `[$__rate_interval]))`, "{{instance}}"}},
		},
		{
			id: 41, title: "Commits per second, by result", width: 6, unit: "short", stack: true,
			good: "ok, a few per second and worker.",
			act:  "failed: the coordinator; what is committed late is repeated after a crash. fenced: a later generation has the partitions, normal at a rebalance.",
			draw: []query{{`sum by (result) (rate(eventworker_commits_total` + j + `[$__rate_interval]))`, "{{result}}"}},
		},
		{
			id: 42, title: "Time of a commit, with the store's sync", width: 6, unit: "s",
			good: "well below kafka.session_timeout.",
			act:  "slow: the store's volume, or the group's coordinator.",
			draw: quantiles("eventworker_commit_duration_seconds", "", ""),
		},
		{
			id: 43, title: "Rebalances per hour", width: 6, unit: "short",
			good: "0 but for deploys.",
			act:  "again and again: a worker that dies or is throttled misses its heartbeats. See restarts, memory limits, kafka.session_timeout.",
			draw: []query{{`max by (job) (increase(eventworker_generations_total` + j + `[1h]))`, "{{job}}"}},
		},
	}}
}

package telemetry

import "github.com/prometheus/client_golang/prometheus"

// MetricKind is how a metric counts.
type MetricKind string

// The kinds of metrics.
const (
	CounterKind   MetricKind = "counter"
	GaugeKind     MetricKind = "gauge"
	HistogramKind MetricKind = "histogram"
)

// Definition declares a metric: the only place where its name, help, labels and bounds stand.
// docs/metrics.md lists the same ones; a test compares them.
type Definition struct {
	Name   string
	Kind   MetricKind
	Help   string
	Labels []string
	// Buckets are the upper bounds of a histogram.
	Buckets []float64
	// Read says that the value is read when metrics are scraped (see [Metrics.Read]); others are
	// counted up as things happen.
	Read bool
}

// The names of the metrics. Labels have few values, all known beforehand: applications are those of
// the configuration, partitions those of the group.
const (
	MessagesReceived     = "eventworker_messages_received_total"
	MessagesDelivered    = "eventworker_messages_delivered_total"
	MessagesDeadLettered = "eventworker_messages_dead_lettered_total"
	MessagesAbsorbed     = "eventworker_messages_absorbed_total"
	MessagesReleased     = "eventworker_messages_released_total"
	MessagesInFlight     = "eventworker_messages_in_flight"
	ConservationGap      = "eventworker_messages_conservation_gap"

	EventsDelivered    = "eventworker_events_delivered_total"
	EventsRefused      = "eventworker_events_refused_total"
	Batches            = "eventworker_batches_total"
	BatchEvents        = "eventworker_batch_events"
	BatchBytes         = "eventworker_batch_bytes"
	Requests           = "eventworker_requests_total"
	RequestDuration    = "eventworker_request_duration_seconds"
	RequestsInFlight   = "eventworker_requests_in_flight"
	RequestLimit       = "eventworker_requests_in_flight_limit"
	Retries            = "eventworker_retries_total"
	BreakerOpen        = "eventworker_breaker_open"
	Misconfigured      = "eventworker_misconfigured"
	EventAgeOldest     = "eventworker_oldest_unsettled_age_seconds"
	EventAgeLimit      = "eventworker_max_event_age_seconds"
	DeliveryLatency    = "eventworker_delivery_latency_seconds"
	EventLatency       = "eventworker_event_latency_seconds"
	Lookups            = "eventworker_lookups_total"
	Hints              = "eventworker_hints_total"
	JoinWaiting        = "eventworker_join_waiting_messages"
	AttributedObjects  = "eventworker_attributed_objects_total"
	MatchAge           = "eventworker_match_age_seconds"
	AttributionTrouble = "eventworker_attribution_trouble"
	Impressions        = "eventworker_impressions_total"
	BudgetBytes        = "eventworker_budget_bytes"
	BudgetUsed         = "eventworker_budget_used_bytes"
	FetchPaused        = "eventworker_fetch_paused"
	FetchPausedSeconds = "eventworker_fetch_paused_seconds_total"
	FetchedBytes       = "eventworker_fetched_bytes_total"

	Commits          = "eventworker_commits_total"
	CommitDuration   = "eventworker_commit_duration_seconds"
	Generations      = "eventworker_generations_total"
	PartitionLag     = "eventworker_partition_lag_messages"
	PartitionLagTime = "eventworker_partition_lag_seconds"
	FrontierLag      = "eventworker_partition_frontier_lag_messages"
	PartitionWaiting = "eventworker_partition_waiting"
	Partitions       = "eventworker_partitions"
	TopicsMissing    = "eventworker_topics_missing"
	MessagesLost     = "eventworker_messages_lost_total"
	TopicRetention   = "eventworker_topic_retention_seconds"

	DeadLetterWrites   = "eventworker_dead_letter_writes_total"
	DeadLetterFailures = "eventworker_dead_letter_write_failures_total"
	DeadLetterPending  = "eventworker_dead_letter_pending"

	StoreBytes    = "eventworker_store_bytes"
	StoreRecords  = "eventworker_store_records_total"
	StoreUsers    = "eventworker_store_users"
	StoreSync     = "eventworker_store_sync_duration_seconds"
	StoreRestored = "eventworker_store_restored_messages_total"
	StoreDamaged  = "eventworker_store_damaged_bytes_total"
	StoreReads    = "eventworker_store_reads_total"
	StoreDropped  = "eventworker_store_dropped_records_total"
	StoreSegments = "eventworker_store_segments"

	Ready         = "eventworker_ready"
	Live          = "eventworker_live"
	BuildInfo     = "eventworker_build_info"
	ConfigHash    = "eventworker_config_hash"
	ReloadOK      = "eventworker_config_last_reload_successful"
	ReloadTime    = "eventworker_config_last_reload_success_timestamp_seconds"
	LogSuppressed = "eventworker_log_lines_suppressed_total"
)

// The bounds of the histograms. Requests take 50 ms to 10 s (delivery.timeout); what waits for the
// API may take days.
var (
	secondsOfRequests = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	secondsOfDisk     = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5}
	secondsOfDelivery = []float64{.1, .25, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 3600, 6 * 3600, 24 * 3600, 96 * 3600}
	eventsOfBatches   = []float64{1, 5, 10, 25, 50, 100, 250, 500, 750, 999, 1000}
	secondsOfMatches  = []float64{1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600, 48 * 3600, 96 * 3600}
	bytesOfBatches    = []float64{1 << 10, 4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 1_500_000, 1_900_000}
)

var ledgerMetrics = []string{
	MessagesReceived, MessagesDelivered, MessagesDeadLettered, MessagesAbsorbed, MessagesReleased, MessagesInFlight, ConservationGap,
}

// Definitions is the table of all metrics, in the order of docs/metrics.md.
var Definitions = []Definition{
	{Name: MessagesReceived, Kind: CounterKind, Read: true, Help: "Messages fetched from Kafka."},
	{Name: MessagesDelivered, Kind: CounterKind, Read: true, Help: "Messages settled with at least one event delivered and no dead letter."},
	{Name: MessagesDeadLettered, Kind: CounterKind, Read: true, Labels: []string{"reason"}, Help: "Messages settled with a dead letter."},
	{Name: MessagesAbsorbed, Kind: CounterKind, Read: true, Labels: []string{"reason"}, Help: "Messages settled without an event or a dead letter."},
	{Name: MessagesReleased, Kind: CounterKind, Read: true, Help: "Messages given back unsettled at a generation's end; they are read again."},
	{Name: MessagesInFlight, Kind: GaugeKind, Read: true, Help: "Messages fetched and not yet settled or released."},
	{Name: ConservationGap, Kind: GaugeKind, Read: true, Help: "Received less delivered, dead-lettered, absorbed, released and in flight: 0, or messages were lost or invented."},

	{Name: EventsDelivered, Kind: CounterKind, Labels: []string{"application", "type"}, Help: "Insights events that the API accepted."},
	{Name: EventsRefused, Kind: CounterKind, Labels: []string{"application", "outcome"}, Help: "Insights events that will not be delivered."},
	{Name: Batches, Kind: CounterKind, Labels: []string{"application", "trigger"}, Help: "Batches formed, by what sealed them."},
	{Name: BatchEvents, Kind: HistogramKind, Labels: []string{"application"}, Buckets: eventsOfBatches, Help: "Events in a batch when it was sealed."},
	{Name: BatchBytes, Kind: HistogramKind, Labels: []string{"application"}, Buckets: bytesOfBatches, Help: "Size of a batch as a request body when it was sealed."},
	{Name: Requests, Kind: CounterKind, Labels: []string{"application", "class"}, Help: "Requests to the API, by class of answer."},
	{Name: RequestDuration, Kind: HistogramKind, Labels: []string{"application"}, Buckets: secondsOfRequests, Help: "Time of a request until its whole answer or its failure."},
	{Name: RequestsInFlight, Kind: GaugeKind, Read: true, Labels: []string{"application"}, Help: "Requests on the wire."},
	{Name: RequestLimit, Kind: GaugeKind, Read: true, Labels: []string{"application"}, Help: "Requests that may be on the wire at a time, as found useful; at most delivery.max_in_flight."},
	{Name: Retries, Kind: CounterKind, Labels: []string{"application"}, Help: "Requests that repeated events of an earlier one."},
	{Name: BreakerOpen, Kind: GaugeKind, Read: true, Labels: []string{"application"}, Help: "1 while nothing but probes is sent: requests keep failing, the application is misconfigured, or the API refuses everything."},
	{Name: Misconfigured, Kind: GaugeKind, Read: true, Labels: []string{"application"}, Help: "1 while the API refuses the credentials or cannot be what the configuration names."},
	{Name: EventAgeOldest, Kind: GaugeKind, Read: true, Help: "Age of the oldest unsettled message, from its event time."},
	{Name: EventAgeLimit, Kind: GaugeKind, Read: true, Help: "delivery.max_event_age, to compare ages with."},
	{Name: DeliveryLatency, Kind: HistogramKind, Buckets: secondsOfDelivery, Help: "Time from a message's record timestamp until its events were accepted."},
	{Name: EventLatency, Kind: HistogramKind, Buckets: secondsOfDelivery, Help: "Time from an event's own timestamp until it was accepted."},

	{Name: Lookups, Kind: CounterKind, Read: true, Labels: []string{"result"}, Help: "Objects and items, by what gave them a queryID."},
	{Name: AttributedObjects, Kind: CounterKind, Read: true, Labels: []string{"type", "model", "index", "result"}, Help: "Objects of clicks and items of carts and purchases, by whether they matched."},
	{Name: MatchAge, Kind: HistogramKind, Labels: []string{"by"}, Buckets: secondsOfMatches, Help: "How much earlier than the event the impression or click was that gave it a queryID, of a sample of matches."},
	{Name: AttributionTrouble, Kind: GaugeKind, Read: true, Labels: []string{"cause"}, Help: "1 while messages look as if something in the storefront spoiled attribution."},
	{Name: Hints, Kind: CounterKind, Read: true, Labels: []string{"hint"}, Help: "Oddities of messages that are no refusal and cost attribution."},
	{Name: JoinWaiting, Kind: GaugeKind, Read: true, Help: "Messages that wait for the log to say more."},
	{Name: Impressions, Kind: CounterKind, Read: true, Help: "Impressions stored."},

	{Name: BudgetBytes, Kind: GaugeKind, Read: true, Help: "memory.budget."},
	{Name: BudgetUsed, Kind: GaugeKind, Read: true, Help: "Bytes held between fetch and settlement."},
	{Name: FetchPaused, Kind: GaugeKind, Read: true, Help: "1 while nothing is fetched."},
	{Name: FetchPausedSeconds, Kind: CounterKind, Read: true, Help: "Time during which nothing was fetched because of the budget, what waits in the join, the API or a request to pause."},
	{Name: FetchedBytes, Kind: CounterKind, Read: true, Help: "Bytes fetched, compressed as they came."},

	{Name: Commits, Kind: CounterKind, Labels: []string{"result"}, Help: "Commits of all partitions at a time."},
	{Name: CommitDuration, Kind: HistogramKind, Buckets: secondsOfRequests, Help: "Time of a commit, with the store's sync before it."},
	{Name: Generations, Kind: CounterKind, Help: "Generations of the group that this worker took part in."},
	{Name: PartitionLag, Kind: GaugeKind, Read: true, Labels: []string{"topic", "partition"}, Help: "Messages between the frontier and the partition's end."},
	{Name: PartitionLagTime, Kind: GaugeKind, Read: true, Labels: []string{"topic", "partition"}, Help: "Age of the oldest unsettled message by its record timestamp; 0 at the end."},
	{Name: FrontierLag, Kind: GaugeKind, Read: true, Labels: []string{"topic", "partition"}, Help: "Messages between the frontier and the last one fetched: what one unsettled message holds up."},
	{Name: PartitionWaiting, Kind: GaugeKind, Read: true, Labels: []string{"topic", "partition"}, Help: "1 while the partition is not fetched because what waits in the join holds its share of memory.budget."},
	{Name: Partitions, Kind: GaugeKind, Read: true, Labels: []string{"state"}, Help: "Partitions of this worker by state."},
	{Name: TopicsMissing, Kind: GaugeKind, Read: true, Help: "Topics of kafka.topics that do not exist."},
	{Name: TopicRetention, Kind: GaugeKind, Read: true, Labels: []string{"topic"}, Help: "How long the topic keeps its messages; absent where it keeps them for ever, or the brokers do not say."},
	{Name: MessagesLost, Kind: CounterKind, Read: true, Labels: []string{"topic"}, Help: "Messages that retention removed before they were read."},

	{Name: DeadLetterWrites, Kind: CounterKind, Labels: []string{"reason"}, Help: "Dead letters that all in-sync replicas acknowledged."},
	{Name: DeadLetterFailures, Kind: CounterKind, Help: "Writes to the dead-letter topic that failed and were repeated."},
	{Name: DeadLetterPending, Kind: GaugeKind, Read: true, Help: "Dead letters not yet acknowledged."},

	{Name: StoreBytes, Kind: GaugeKind, Read: true, Labels: []string{"place"}, Help: "Bytes of the store."},
	{Name: StoreRecords, Kind: CounterKind, Read: true, Labels: []string{"kind"}, Help: "Records written to the store."},
	{Name: StoreUsers, Kind: GaugeKind, Read: true, Help: "Users in the store's index."},
	{Name: StoreSync, Kind: HistogramKind, Buckets: secondsOfDisk, Help: "Time to make the store durable before a commit."},
	{Name: StoreRestored, Kind: CounterKind, Read: true, Help: "Messages read again for their effects only."},
	{Name: StoreDamaged, Kind: CounterKind, Read: true, Help: "Bytes of the store that were damaged, cut off and restored from Kafka."},
	{Name: StoreReads, Kind: CounterKind, Read: true, Labels: []string{"place"}, Help: "Records that look-ups read, by where they were found."},
	{Name: StoreDropped, Kind: CounterKind, Read: true, Help: "Records let go before their time for want of room."},
	{Name: StoreSegments, Kind: GaugeKind, Read: true, Help: "Files of the store."},

	{Name: Ready, Kind: GaugeKind, Read: true, Help: "1 while /readyz says yes."},
	{Name: Live, Kind: GaugeKind, Read: true, Help: "1 while /livez says yes."},
	{Name: BuildInfo, Kind: GaugeKind, Read: true, Labels: []string{"version", "commit", "go"}, Help: "1, with the build in its labels."},
	{Name: ConfigHash, Kind: GaugeKind, Read: true, Help: "Hash of the effective configuration without its secrets: workers with different numbers are configured differently."},
	{Name: ReloadOK, Kind: GaugeKind, Read: true, Help: "1 if the last reload of the configuration was applied, or there was none."},
	{Name: ReloadTime, Kind: GaugeKind, Read: true, Help: "When the configuration was last applied, as a Unix time."},
	{Name: LogSuppressed, Kind: CounterKind, Help: "Log lines left out by the rate limit."},
}

// descs are the descriptions of all metrics by name.
var descs = describe()

func describe() map[string]*prometheus.Desc {
	all := make(map[string]*prometheus.Desc, len(Definitions))
	for _, d := range Definitions {
		all[d.Name] = prometheus.NewDesc(d.Name, d.Help, d.Labels, nil)
	}
	return all
}

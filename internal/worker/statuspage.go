package worker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"eventworker/internal/consume"
	"eventworker/internal/event"
	"eventworker/internal/insights"
	"eventworker/internal/join"
	"eventworker/internal/querystore"
	"eventworker/internal/telemetry"
)

// Page is what /statusz shows people.
func (w *Worker) Page() *telemetry.StatusPage {
	k := w.kafka.Status()
	w.lookAfter(time.Now(), &k)
	p := &telemetry.StatusPage{
		Messages: flowOf(w.ledger.Snapshot()), Partitions: w.partitionRows(), MissingTopics: w.missingTopics(&k), Deliveries: w.deliveryRows(),
		DeadLetters: w.deadLetterSection(), Store: w.storeFacts(), Config: w.configRows(), Reload: w.reloadFacts(),
	}
	p.Facts = w.facts(&k, p.Partitions)
	c := w.joined.total()
	p.Attribution, p.Hints = attributionOf(&c), hintsOf(&c)
	p.Verdict, p.Level = w.verdict(&k, p)
	return p
}

// flowOf are the terms of the message equation.
func flowOf(s telemetry.Snapshot) telemetry.MessageFlow {
	return telemetry.MessageFlow{Received: s.Received, Gap: s.Gap(), Parts: []telemetry.Part{
		{Name: "delivered", Count: s.Delivered}, {Name: "absorbed", Count: s.TotalAbsorbed()}, {Name: "dead-lettered", Count: s.TotalDeadLettered()},
		{Name: "released", Count: s.Released}, {Name: "in flight", Count: s.InFlight},
	}}
}

func (w *Worker) partitionRows() []telemetry.PartitionRow {
	rows := []telemetry.PartitionRow{}
	for _, v := range w.live.views() {
		row := telemetry.PartitionRow{
			Topic: v.Topic, Partition: v.Partition, State: string(v.State), Why: v.Why, Lag: v.Lag, LagSeconds: v.LagSeconds,
			Frontier: v.Frontier, Next: v.Next, End: v.End, HeldBytes: v.HeldBytes, Restoring: v.Restoring,
		}
		if o := v.Oldest; o != nil {
			row.Oldest = &telemetry.Oldest{Offset: o.Offset, Since: o.Since, Why: o.Why}
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b telemetry.PartitionRow) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return rows
}

func (w *Worker) deliveryRows() []telemetry.DeliveryRow {
	rows := []telemetry.DeliveryRow{}
	g := w.current.Load()
	for i, a := range w.apps {
		if a == nil {
			continue
		}
		s := a.Status()
		row := telemetry.DeliveryRow{
			Application: a.Name(), State: string(s.State), Level: "ok", Since: s.Since, Why: s.Why, Breaker: s.Breaker, Paused: s.Paused,
			InFlight: s.InFlight, Limit: s.Limit, Requests: s.Requests,
		}
		switch {
		case s.State == insights.StateMisconfigured || s.State == insights.StateSystemic:
			row.Level = "bad"
		case s.State != insights.StateOK || s.Paused:
			row.Level = "warn"
		}
		if s.NextTry != nil {
			row.NextTry = "in " + telemetry.ShortDuration(max(0, time.Until(*s.NextTry)))
		}
		row.Median, row.P99, row.Statuses = w.tallies[i].recent.summary()
		if g != nil && !g.ended() && g.deliverers[i] != nil {
			row.Pending = g.deliverers[i].Load().Events
		}
		rows = append(rows, row)
	}
	return rows
}

func (w *Worker) deadLetterSection() telemetry.DeadLetterSection {
	d := telemetry.DeadLetterSection{Reasons: []telemetry.Count{}, Refusals: []telemetry.Refusal{}}
	d.Pending, _ = w.letters.Pending()
	if ok, why := w.lettersHealthy(); !ok {
		d.Failing = why
	}
	s := w.ledger.Snapshot()
	for r := event.NoReason + 1; r < event.NumReasons; r++ {
		if n := s.DeadLettered[r]; n > 0 {
			d.Reasons = append(d.Reasons, telemetry.Count{Name: r.String(), Count: n})
		}
	}
	slices.SortStableFunc(d.Reasons, func(a, b telemetry.Count) int { return int(min(1, max(-1, b.Count-a.Count))) })
	causes, refusals := w.causes.top()
	d.Causes = causes
	d.Refusals = append(d.Refusals, refusals...)
	return d
}

// ageLevels are the shares of delivery.max_event_age at which the age of the oldest message is shown as
// worth a look, and as bad.
const ageWarn, ageBad = 0.5, 0.8

func (w *Worker) facts(k *consume.Status, rows []telemetry.PartitionRow) []telemetry.Fact {
	behind, messages := -1.0, int64(0)
	for _, r := range rows {
		behind, messages = max(behind, r.LagSeconds), messages+r.Lag
	}
	oldest, limit := w.oldestAge(time.Now()), w.cfg.Delivery.MaxEventAge
	age := telemetry.Fact{Name: "Oldest unsettled", Value: telemetry.ShortDuration(oldest) + " of " + telemetry.ShortDuration(limit)}
	if oldest == 0 {
		age.Value = "none"
	}
	switch share := oldest.Seconds() / limit.Seconds(); {
	case share > ageBad:
		age.Level = "bad"
	case share > ageWarn:
		age.Level = "warn"
	}
	paused, total := w.pauses.state()
	fetching := telemetry.Fact{Name: "Fetching", Value: "running"}
	if len(k.Paused) > 0 {
		fetching.Value, fetching.Level = "paused: "+strings.Join(k.Paused, "; "), "warn"
	} else if k.State != consume.StateConsuming {
		fetching.Value, fetching.Level = "not running: "+string(k.State), "warn"
	} else if n := stopped(k); n > 0 {
		fetching.Value = plural(n, "partition") + " not fetched: " + stoppedWhy
	} else if paused {
		fetching.Value = "waits for room in memory.budget"
	}
	if total > 0 {
		fetching.Value += ", " + telemetry.ShortDuration(total) + " paused in all"
	}
	return []telemetry.Fact{
		{Name: "Behind", Value: lagText(behind, messages)},
		age,
		{Name: "Memory budget", Value: telemetry.ByteText(k.BudgetUsed) + " of " + telemetry.ByteText(k.BudgetTotal)},
		fetching,
		{Name: "Waiting in the join", Value: telemetry.Number(int64(w.waiting()))},
		{Name: "Group", Value: fmt.Sprintf("%s, generation %d, %s", w.cfg.Kafka.Group, k.Generation, k.State)},
	}
}

func lagText(behind float64, messages int64) string {
	switch {
	case messages == 0:
		return "nothing"
	case behind < 0:
		return telemetry.Number(messages) + " messages"
	}
	return telemetry.ShortDuration(time.Duration(behind*float64(time.Second))) + ", " + telemetry.Number(messages) + " messages"
}

// verdict says in one sentence how the worker does.
func (w *Worker) verdict(k *consume.Status, p *telemetry.StatusPage) (sentence, level string) {
	level = "ok"
	worse := func(l string) {
		if level == "ok" || l == "bad" {
			level = l
		}
	}
	head := "Flowing"
	switch {
	case k.State != consume.StateConsuming:
		head = "Not consuming: " + string(k.State)
		worse("warn")
	case w.restoring() > 0:
		head = fmt.Sprintf("Reading %d messages again for the store", w.restoring())
		worse("warn")
	case len(k.Paused) > 0:
		head = "Paused"
		worse("warn")
	case len(p.Partitions) == 0:
		head = "Spare: no partitions"
	case slices.ContainsFunc(p.Deliveries, func(r telemetry.DeliveryRow) bool { return r.Level != "ok" && r.Pending > 0 }):
		head = "Delivery waits"
	}
	if len(p.MissingTopics) == len(w.cfg.Kafka.Topics) && k.State == consume.StateConsuming {
		head = "Nothing to read"
	}
	parts := []string{head}
	if len(p.MissingTopics) > 0 {
		parts = append(parts, "missing: input topic "+strings.Join(p.MissingTopics, ", input topic "))
		worse("bad")
	}
	states, behind := make(map[string]int), 0.0
	for _, r := range p.Partitions {
		states[r.State]++
		if r.State == string(partitionWarn) {
			behind = max(behind, r.LagSeconds)
		}
	}
	if n := states[string(partitionWarn)]; n > 0 && behind > 0 {
		parts = append(parts, plural(n, "partition")+" behind by "+telemetry.ShortDuration(time.Duration(behind*float64(time.Second))))
		worse("warn")
	}
	for _, s := range []partitionState{partitionStop, partitionStall, partitionRewind} {
		if n := states[string(s)]; n > 0 {
			parts = append(parts, plural(n, "partition")+" in "+strings.ToUpper(string(s)))
			worse("bad")
		}
	}
	parts = append(parts, breakers(p.Deliveries, worse))
	if p.DeadLetters.Failing != "" && k.State == consume.StateConsuming {
		parts = append(parts, "dead letters cannot be written")
		worse("bad")
	}
	if len(w.storeTroubles()) > 0 {
		parts = append(parts, "the store refuses effects")
		worse("bad")
	}
	if ready, conditions := w.health.Ready(); !ready && level != "bad" {
		for _, c := range conditions {
			if !c.OK {
				parts = append(parts, "not ready: "+c.Name)
				worse("warn")
				break
			}
		}
	}
	if p.Messages.Gap != 0 {
		parts = append(parts, "the messages do not add up")
		worse("bad")
	}
	return strings.Join(parts, "; "), level
}

func breakers(rows []telemetry.DeliveryRow, worse func(string)) string {
	var open, retrying []string
	for _, r := range rows {
		if r.Level != "ok" {
			worse(r.Level)
		}
		if r.State == string(insights.StateRetrying) {
			retrying = append(retrying, r.Application)
		}
		if r.Breaker != "closed" {
			open = append(open, r.Application+" ("+r.State+")")
			worse("bad")
		}
	}
	switch {
	case len(open) == 0 && len(retrying) > 0:
		return strings.Join(retrying, ", ") + " retries, breaker closed"
	case len(open) > 0:
		return "breaker open for " + strings.Join(open, ", ")
	case len(rows) > 1:
		return "breakers closed"
	}
	return "breaker closed"
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func (w *Worker) storeFacts() []telemetry.Fact {
	facts := []telemetry.Fact{{Name: "Kind", Value: w.cfg.Store.Kind}}
	add := func(name, value string) { facts = append(facts, telemetry.Fact{Name: name, Value: value}) }
	if store, ok := w.store.(interface{ Stats() querystore.Stats }); ok {
		s := store.Stats()
		add("Users", telemetry.Number(s.Users))
		add("History", telemetry.ByteText(s.Bytes)+fmt.Sprintf(" in %d sections", s.Sections))
		add("In memory", telemetry.ByteText(s.Memory))
		if n := s.RingHits + s.Reads; n > 0 {
			add("Found in memory", fmt.Sprintf("%.1f %% of %s records", 100*float64(s.RingHits)/float64(n), telemetry.Number(n)))
		}
		if s.Cut > 0 {
			facts = append(facts, telemetry.Fact{Name: "Damaged", Value: telemetry.ByteText(s.Cut) + " cut off and restored", Level: "warn"})
		}
		if s.Dropped > 0 {
			facts = append(facts, telemetry.Fact{Name: "Dropped for want of room", Value: fmt.Sprintf("%d records", s.Dropped), Level: "warn"})
		}
	}
	if left := w.restoring(); left > 0 {
		facts = append(facts, telemetry.Fact{Name: "To be read again", Value: fmt.Sprintf("%d messages", left), Level: "warn"})
	}
	for task, why := range w.storeTroubles() {
		facts = append(facts, telemetry.Fact{Name: "Task " + task, Value: why, Level: "bad"})
	}
	return facts
}

func attributionOf(c *join.Counters) []telemetry.Share {
	shares := []telemetry.Share{
		{Name: "the message itself", Count: c.Own}, {Name: "a remembered click", Count: c.Clicked}, {Name: "an impression", Count: c.Shown},
		{Name: "an impression a little later", Count: c.Skewed}, {Name: "nothing: plain", Count: c.Plain},
	}
	all := c.Own + c.Clicked + c.Shown + c.Skewed + c.Plain
	if all == 0 {
		return []telemetry.Share{}
	}
	for i := range shares {
		shares[i].Share = float64(shares[i].Count) / float64(all)
	}
	return shares
}

func hintsOf(c *join.Counters) []telemetry.Count {
	hints := []telemetry.Count{}
	for _, h := range []telemetry.Count{
		{Name: "malformed queryID, treated as absent", Count: c.MalformedQueryIDs}, {Name: "message_ id left out of a purchase", Count: c.MessageIDs},
		{Name: "own queryID without a position", Count: c.Unpositioned}, {Name: "amounts without currency", Count: c.NoCurrency},
		{Name: "value is not the sum of the items", Count: c.ValueDiffers}, {Name: "sum too long", Count: c.ValueTooLong},
		{Name: "record not keyed by userToken", Count: c.NotKeyed}, {Name: "record in another partition than murmur2's", Count: c.WrongPartition},
		{Name: "shown list without queryID: is clickAnalytics on?", Count: c.ViewsOnly}, {Name: "userToken of the Recommend request differs", Count: c.TokenMismatches},
	} {
		if h.Count > 0 {
			hints = append(hints, h)
		}
	}
	return hints
}

func (w *Worker) configRows() []telemetry.ConfigRow {
	var rows []telemetry.ConfigRow
	for _, s := range w.loadedConfig().Settings() {
		rows = append(rows, telemetry.ConfigRow{Key: s.Key, Value: s.Value, Origin: string(s.Origin)})
	}
	return rows
}

func (w *Worker) reloadFacts() []telemetry.Fact {
	last, applied := w.lastReload()
	facts := []telemetry.Fact{
		{Name: "In force since", Value: applied.UTC().Format("2006-01-02 15:04:05 UTC")},
		{Name: "Hash", Value: fmt.Sprintf("%012x", w.config().Hash())},
	}
	switch {
	case last.At.IsZero():
	case last.Applied:
		keys := make([]string, len(last.Changes))
		for i, c := range last.Changes {
			keys[i] = c.Key
		}
		value := "nothing changed"
		if len(keys) > 0 {
			value = "changed " + strings.Join(keys, ", ")
		}
		facts = append(facts, telemetry.Fact{Name: "Last reload", Value: value})
	default:
		facts = append(facts, telemetry.Fact{Name: "Last reload, refused", Value: last.Error, Level: "bad"})
	}
	return facts
}

package worker

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"eventworker/internal/join"
	"eventworker/internal/telemetry"
)

// attribution is how attribution goes, over all tasks, and what seems to spoil it.
type attribution struct {
	names *join.Indexes
	ages  [2]prometheus.Observer

	mu       sync.Mutex
	sum      join.Health
	troubles [numTroubles]suspicion
	looked   time.Time
}

func newAttribution(names *join.Indexes, m *telemetry.Metrics) *attribution {
	return &attribution{names: names, ages: [2]prometheus.Observer{m.MatchAge.WithLabelValues("impression"), m.MatchAge.WithLabelValues("click")}}
}

// take adds what a task counted since the last call. It is called once a chunk.
func (a *attribution) take(h *join.Health) {
	for by, ages := range h.Ages {
		for _, ms := range ages {
			a.ages[by].Observe(float64(ms) / 1000)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	h.Take(&a.sum)
}

// AttributedObjects counts the objects of one type, model and index.
type AttributedObjects struct {
	Type  string `json:"type"`
	Model string `json:"model"`
	Index string `json:"index"`
	// Matched objects have a queryID, plain ones have none. A model is that of the impression that answered,
	// else the one that the message names.
	Matched int64 `json:"matched"`
	Plain   int64 `json:"plain"`
}

// objects are the counts that are not 0.
func (a *attribution) objects() (list []AttributedObjects) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for index := range a.sum.Objects {
		for kind := range a.sum.Objects[index] {
			for model, n := range a.sum.Objects[index][kind] {
				if n[0]+n[1] > 0 {
					list = append(list, AttributedObjects{Type: join.HealthTypes[kind], Model: join.Models[model], Index: a.names.Name(index), Plain: n[0], Matched: n[1]})
				}
			}
		}
	}
	return list
}

func (a *attribution) emit(emit telemetry.Emit) {
	for _, o := range a.objects() {
		emit(telemetry.AttributedObjects, float64(o.Matched), o.Type, o.Model, o.Index, "matched")
		emit(telemetry.AttributedObjects, float64(o.Plain), o.Type, o.Model, o.Index, "plain")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range troubles {
		emit(telemetry.AttributionTrouble, truth(a.troubles[i].now), troubles[i].cause)
	}
}

// AttributionTrouble is a cause in the storefront that seems to spoil attribution.
type AttributionTrouble struct {
	Cause string `json:"cause"`
	Why   string `json:"why"`
	// Share is how much of what was looked at last shows it, from 0 to 1.
	Share float64 `json:"share"`
}

// suspects are the causes that what was looked at last shows.
func (a *attribution) suspects() (list []AttributionTrouble) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range troubles {
		if s := &a.troubles[i]; s.now {
			list = append(list, AttributionTrouble{Cause: troubles[i].cause, Why: troubles[i].why, Share: s.share})
		}
	}
	return list
}

// counted is what the rules of troubles judge: counts since a rule looked last.
type counted struct {
	join.Counters
	objects [len(join.HealthTypes)][2]int64 // plain, matched
}

func (c *counted) since(earlier *counted) counted {
	d := counted{Counters: c.Counters.Since(&earlier.Counters), objects: c.objects}
	for kind := range d.objects {
		d.objects[kind][0] -= earlier.objects[kind][0]
		d.objects[kind][1] -= earlier.objects[kind][1]
	}
	return d
}

// plain and all are the objects of a type.
func (c *counted) plain(kind int) int64 { return c.objects[kind][0] }
func (c *counted) all(kind int) int64   { return c.objects[kind][0] + c.objects[kind][1] }

// looked is how many objects could have been attributed, and named is how many queryIDs messages name.
func (c *counted) looked() int64 { return c.Clicked + c.Shown + c.Skewed + c.Plain }
func (c *counted) named() int64  { return c.Impressions + c.Own + c.Unpositioned + c.MalformedQueryIDs }

// unknown says whether next to no object of a type is matched, which has another cause than single ones are not.
func (c *counted) unknown(kind int) bool { return float64(c.plain(kind)) > 0.99*float64(c.all(kind)) }

// A trouble is a rule that names a cause in the storefront.
type trouble struct {
	cause string
	// why is what the log says of it: what is seen, and what mostly lies behind it.
	why string
	// of is how much was looked at, bad how much of it shows the cause.
	of, bad func(c *counted) int64
	// over is the share beyond which the cause is named.
	over float64
	// unless, where it holds, another rule names the cause; nil: none does.
	unless func(c *counted) bool
}

const (
	numTroubles = 9
	// troubleLeast is how much must have been looked at before a rule judges.
	troubleLeast = 1000
	// troubleEvery and troubleAgain bound how often the rules judge, and one cause is said.
	troubleEvery = 10 * time.Second
	troubleAgain = time.Hour
)

var troubles = [numTroubles]trouble{
	{cause: "views_only", over: 0.2,
		why: "shown lists come without a queryID, so that nothing can be attributed to them: the Recommend request lacks clickAnalytics: true (in queryParameters and in fallbackParameters), or the storefront does not pass the queryID on",
		of:  func(c *counted) int64 { return c.Lists }, bad: func(c *counted) int64 { return c.ViewsOnly }},
	{cause: "token_mismatch", over: 0.2,
		why: "Recommend requests name another userToken than the messages that show their answers: the storefront must use one token in both, or the API cannot tell whose clicks they are",
		of:  func(c *counted) int64 { return c.ShownMessages }, bad: func(c *counted) int64 { return c.TokenMismatches }},
	{cause: "nothing_shown", over: 0.9,
		why: "objects are clicked and bought, but no shown list with a queryID arrives: is its topic among kafka.topics, and does the storefront write shown messages",
		of:  (*counted).looked, bad: func(c *counted) int64 { return c.Plain }, unless: func(c *counted) bool { return c.Impressions > 0 || c.Lists > 0 }},
	{cause: "clicks_keyed_otherwise", over: 0.99,
		why: "next to no clicked object is found among what its user was shown: clicked messages carry another userToken, or another application, than shown messages",
		of:  func(c *counted) int64 { return c.all(0) }, bad: func(c *counted) int64 { return c.plain(0) }, unless: noImpressions},
	{cause: "carts_keyed_otherwise", over: 0.99,
		why: "next to no object that is added to a cart is found among what its user was shown or clicked: addedToCart messages carry another userToken, or other objectIDs (of variants, say), than shown messages",
		of:  func(c *counted) int64 { return c.all(1) }, bad: func(c *counted) int64 { return c.plain(1) }, unless: noImpressions},
	{cause: "purchases_keyed_otherwise", over: 0.99,
		why: "next to no bought object is found among what its user was shown or clicked: purchased messages, which often come from another service, carry another userToken or other objectIDs than shown messages",
		of:  func(c *counted) int64 { return c.all(2) }, bad: func(c *counted) int64 { return c.plain(2) }, unless: noImpressions},
	{cause: "clicks_never_shown", over: 0.5,
		why: "most clicked objects are in no list that their user was shown: some placements write no shown messages, or a list is written with other objectIDs than the ones that are clicked",
		of:  func(c *counted) int64 { return c.all(0) }, bad: func(c *counted) int64 { return c.plain(0) }, unless: func(c *counted) bool { return noImpressions(c) || c.unknown(0) }},
	{cause: "malformed_query_id", over: 0.2,
		why: "queryIDs are neither 32 hexadecimal digits nor message_ ids, and are treated as absent: the storefront passes on something else, or cuts them off",
		of:  (*counted).named, bad: func(c *counted) int64 { return c.MalformedQueryIDs }},
	{cause: "skewed", over: 0.2,
		why: "events are earlier than the impressions that answer them: the clocks of the services that write messages differ; messages should carry the time of the event",
		of:  func(c *counted) int64 { return c.Shown + c.Skewed }, bad: func(c *counted) int64 { return c.Skewed }},
}

func noImpressions(c *counted) bool { return c.Impressions == 0 }

// suspicion is what a rule found last.
type suspicion struct {
	base  counted // what was counted when the rule looked last
	now   bool
	share float64
	said  time.Time
}

// sample looks now and then.
func (a *attribution) sample(now time.Time, w *Worker) {
	if now.Sub(a.looked) >= troubleEvery { // one goroutine calls this
		a.looked = now
		a.look(now, w.joined.total(), w.log)
	}
}

// look judges what was counted since the last time, by each rule that has enough to judge by.
func (a *attribution) look(now time.Time, c join.Counters, log *zap.Logger) {
	a.mu.Lock()
	defer a.mu.Unlock()
	sum := counted{Counters: c, objects: a.sum.ByType()}
	for i := range troubles {
		rule, s := &troubles[i], &a.troubles[i]
		window := sum.since(&s.base)
		of, bad := rule.of(&window), rule.bad(&window)
		if of < troubleLeast {
			continue
		}
		s.base, s.share = sum, float64(bad)/float64(of)
		s.now = s.share > rule.over && (rule.unless == nil || !rule.unless(&window))
		if s.now && (s.said.IsZero() || now.Sub(s.said) >= troubleAgain) {
			s.said = now
			log.Warn("attribution: "+rule.why, zap.String("cause", rule.cause), zap.Float64("share", s.share), zap.Int64("of", of))
		}
	}
}

// JoinStatus is what /statusz shows of attribution.
type JoinStatus struct {
	join.Counters
	Objects  []AttributedObjects
	Troubles []AttributionTrouble
}

func (w *Worker) joinStatus() JoinStatus {
	return JoinStatus{Counters: w.joined.total(), Objects: w.attribution.objects(), Troubles: w.attribution.suspects()}
}

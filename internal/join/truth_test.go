package join_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"time"

	"eventworker/internal/event"
	"eventworker/internal/insightsfake"
	"eventworker/internal/join"
	"eventworker/internal/querystore"
	"eventworker/internal/storefront"
)

// journal takes what a task makes of the messages of one partition. Its message is the seq.
type journal struct {
	t       testing.TB
	kept    map[uint64]join.Message
	events  map[uint64]int
	letters []storefront.DeadLetter
	claimed []uint64
	settled map[uint64]string
}

func (j *journal) Encoded(m uint64, n int, claimed bool) {
	j.settle(m, "encoded")
	j.events[m] = n
	if claimed {
		j.claimed = append(j.claimed, m)
	}
}

func (j *journal) Absorbed(m uint64, why join.Absorption) { j.settle(m, "absorbed "+why.String()) }

func (j *journal) Refused(m uint64, r *event.Refusal, _ join.About) {
	j.settle(m, "refused "+r.Reason.String())
	j.letters = append(j.letters, storefront.DeadLetter{Seq: m, Reason: r.Reason.String()})
}

func (j *journal) Restored(m uint64) { delete(j.kept, m) }

func (j *journal) settle(m uint64, how string) {
	if before, ok := j.settled[m]; ok {
		j.t.Errorf("message %d: %s, and before that %s", m, how, before)
	}
	j.settled[m] = how
}

func (j *journal) Keep(m uint64) {
	kept := j.kept[m]
	kept.Value, kept.Key = bytes.Clone(kept.Value), bytes.Clone(kept.Key)
	j.kept[m] = kept
}
func (j *journal) Kept(m uint64) join.Message    { return j.kept[m] }
func (j *journal) Wide(uint64, uint16, []uint16) {}

// logOf is the messages of a traffic by partition, and what must come of them.
func logOf(t testing.TB, c storefront.Config) (map[int32][]storefront.Message, *storefront.Truth, storefront.Config) {
	t.Helper()
	g, err := storefront.NewGenerator(c)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := storefront.NewTruthOf(g.Config())
	if err != nil {
		t.Fatal(err)
	}
	log := make(map[int32][]storefront.Message)
	for {
		m := new(storefront.Message)
		if !g.Next(m) {
			break
		}
		truth.Add(m)
		log[m.Partition] = append(log[m.Partition], *m)
	}
	truth.Seal()
	return log, truth, g.Config()
}

func configOf(r storefront.Rules) *join.Config {
	c := &join.Config{
		Window: r.Window, ClickWindow: r.ClickWindow, ClockSkew: r.ClockSkew, AllowedLateness: r.AllowedLateness, Wait: time.Second,
		SendViews: r.SendViews, HashTokens: r.HashTokens, MaxEventAge: r.MaxEventAge, DedupeWindow: r.DedupeWindow,
		Attribution: map[string]join.Attribution{storefront.OnlyClicked: join.ClickedOnly, storefront.OnlyShown: join.ShownOnly}[r.Attribution],
		OnMiss:      map[string]join.OnMiss{storefront.OnMissDeadLetter: join.MissDeadLetter, storefront.OnMissDrop: join.MissDrop}[r.OnMiss],
		EventNames:  map[event.Type]string{},
	}
	for t := event.Shown; t <= event.Purchased; t++ {
		c.EventNames[t] = r.EventNames[t.Name()]
		if slices.Contains(r.DedupeTypes, t.Name()) {
			c.Dedupe = append(c.Dedupe, t)
		}
	}
	for name, a := range r.Applications {
		c.Applications = append(c.Applications, join.Application{Name: name, DefaultIndex: a.DefaultIndex, Indices: a.Indices, Served: true})
	}
	return c
}

// api takes the events of a task as the API would.
type api struct {
	t    testing.TB
	fake *insightsfake.Server
}

func (a *api) post(task *join.Task[uint64]) {
	for app := range task.Runs {
		run := &task.Runs[app]
		for entries := range slices.Chunk(run.Entries, 1000) {
			body := []byte(`{"events":[`)
			for i, e := range entries {
				if i > 0 {
					body = append(body, ',')
				}
				body = append(body, run.Buf[e.Start:e.End]...)
			}
			req := httptest.NewRequest(http.MethodPost, "/1/events", bytes.NewReader(append(body, `]}`...)))
			req.Header.Set("X-Algolia-Application-Id", "A")
			req.Header.Set("X-Algolia-API-Key", "k")
			req.Header.Set("Content-Type", "application/json")
			rec := httptest.NewRecorder()
			a.fake.ServeHTTP(rec, req)
			if rec.Code != http.StatusOK {
				a.t.Fatalf("the API refused events: %d %s", rec.Code, rec.Body)
			}
		}
		run.Reset()
	}
}

// play runs the messages of one partition through a task; restarts says after which of them the
// task is thrown away and a new one starts over from the oldest message that was not settled.
func play(t testing.TB, c *join.Config, section querystore.Section, messages []storefront.Message, now int64, a *api, j *journal, crash func(i int) bool, wiped func() querystore.Section) {
	j.t = t
	start, deliver, progress := int64(0), int64(0), make([]int64, len(messages)+1)
	for {
		task := join.NewTask(c, section, []join.SourceConfig{{Topic: "t", Start: start, Deliver: deliver, Progress: progress[max(start, deliver)], Shown: true, Clicked: true}}, j)
		task.Clock(now)
		again := false
		for i := start; i < int64(len(messages)); i++ {
			m := &messages[i]
			if _, done := j.settled[m.Seq]; done && crash != nil && i >= deliver {
				delete(j.settled, m.Seq) // read again after a crash: it comes again
			}
			msg := join.Message{Offset: i, Time: m.Time, Key: m.Key, Value: m.Value}
			j.kept[m.Seq] = msg
			if i >= deliver {
				progress[i] = task.Progress(0)
			}
			if err := task.Handle(0, m.Seq, msg); err != nil {
				t.Fatal(err)
			}
			for len(j.claimed) > 0 {
				seq := j.claimed[0]
				j.claimed = j.claimed[1:]
				if err := task.Outcome(seq, true); err != nil {
					t.Fatal(err)
				}
			}
			if err := task.EndChunk(); err != nil {
				t.Fatal(err)
			}
			a.post(task)
			if crash != nil && i >= deliver && crash(int(i)) {
				start = i + 1
				for k := range i + 1 {
					if _, done := j.settled[messages[k].Seq]; !done {
						start = k
						break
					}
				}
				if deliver = start; wiped != nil {
					section, start = wiped(), 0
				}
				again = true
				break
			}
		}
		if again {
			continue
		}
		if err := task.AtEnd(0, true); err != nil {
			t.Fatal(err)
		}
		if err := task.Tick(now + 3600_000); err != nil {
			t.Fatal(err)
		}
		for len(j.claimed) > 0 {
			seq := j.claimed[0]
			j.claimed = j.claimed[1:]
			if err := task.Outcome(seq, true); err != nil {
				t.Fatal(err)
			}
		}
		a.post(task)
		if n := task.Waiting(); n > 0 {
			t.Errorf("%d messages wait after the end of the log", n)
		}
		return
	}
}

func TestEveryMessageGetsWhatANaiveReadingOfTheContractGives(t *testing.T) {
	for _, change := range []struct {
		name string
		do   func(*storefront.Config)
	}{
		{"defaults", func(*storefront.Config) {}},
		{"much late and out of order", func(c *storefront.Config) { c.Late, c.OutOfOrder, c.Skewed = 0.1, 0.3, 0.2 }},
		{"few users with much history", func(c *storefront.Config) { c.Users = 5; c.Late = 0.05 }},
		{"only clicked, misses are dead letters", func(c *storefront.Config) {
			c.Rules.Attribution, c.Rules.OnMiss = storefront.OnlyClicked, storefront.OnMissDeadLetter
		}},
		{"only shown, misses are dropped, no views", func(c *storefront.Config) {
			c.Rules.Attribution, c.Rules.OnMiss, c.Rules.SendViews = storefront.OnlyShown, storefront.OnMissDrop, false
		}},
		{"short windows", func(c *storefront.Config) { c.Rules.Window, c.Rules.ClickWindow = 20*time.Second, time.Minute }},
	} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s, seed %d", change.name, seed), func(t *testing.T) {
				rules := storefront.DefaultRules()
				rules.RefusedObjects = nil
				c := storefront.Config{Seed: seed, Messages: 8000, Partitions: 2, Rules: rules}
				change.do(&c)
				log, truth, c := logOf(t, c)
				checkLog(t, log, truth, c, nil, false)
			})
		}
	}
}

func checkLog(t *testing.T, log map[int32][]storefront.Message, truth *storefront.Truth, c storefront.Config, crash func(i int) bool, wipe bool) {
	t.Helper()
	a := &api{t: t, fake: insightsfake.New(insightsfake.Options{Keep: true, KeepEvents: 100_000})}
	j := &journal{kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
	store := querystore.NewMemory(querystore.Options{Memory: 256 << 20})
	defer func() { _ = store.Close() }()
	for number, messages := range log {
		section, err := store.Open(number)
		if err != nil {
			t.Fatal(err)
		}
		var wiped func() querystore.Section
		if wipe {
			wiped = func() querystore.Section {
				fresh := querystore.NewMemory(querystore.Options{Memory: 64 << 20})
				t.Cleanup(func() { _ = fresh.Close() })
				section, err := fresh.Open(number)
				if err != nil {
					t.Fatal(err)
				}
				return section
			}
		}
		play(t, configOf(c.Rules), section, messages, c.Rules.Now, a, j, crash, wiped)
	}
	arrived := storefront.Arrived{Accepted: a.fake.Accepted(), DeadLetters: j.letters}
	if crash != nil {
		arrived.InFlight = func(uint64) bool { return true }
	}
	byDigest := map[insightsfake.Digest]insightsfake.Event{}
	for _, e := range a.fake.Recent() {
		byDigest[e.Digest()] = e
	}
	arrived.Event = func(d insightsfake.Digest) (insightsfake.Event, bool) { e, ok := byDigest[d]; return e, ok }
	if report := truth.Compare(arrived, 5); !report.Matches() || !report.AddsUp() {
		var text bytes.Buffer
		_ = report.WriteText(&text)
		t.Errorf("seed %s:\n%s", strconv.FormatUint(c.Seed, 10), text.String())
	}
}

func TestACrashChangesNoAnswer(t *testing.T) { crashes(t, 150, false) }

func TestAStoreThatWasLostIsMadeAgainFromTheLog(t *testing.T) { crashes(t, 700, true) }

// crashes throws the task away, and with wipe its store too, once in so many messages.
func crashes(t *testing.T, oneIn int, wipe bool) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			rules := storefront.DefaultRules()
			rules.RefusedObjects = nil
			log, truth, c := logOf(t, storefront.Config{Seed: seed, Messages: 6000, Partitions: 1, Users: 100, Late: 0.1, OutOfOrder: 0.3, Skewed: 0.2, Copies: 0.2, Rules: rules})
			random := rand.New(rand.NewPCG(seed, 7))
			last := -1
			checkLog(t, log, truth, c, func(i int) bool {
				if i <= last || random.IntN(oneIn) > 0 {
					return false
				}
				last = i
				return true
			}, wipe)
		})
	}
}

// Package examples runs the storefront examples against a real Apache Kafka: what they publish must
// come out of the worker attributed to the recommendation that they asked for.
package examples

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"eventworker/internal/config"
	"eventworker/internal/insightsfake"
	"eventworker/internal/realtest"
	"eventworker/internal/worker"
)

const (
	appID, apiKey = "EXAMPLEAPP", "example-search-key"
	partitions    = 6
	// patience bounds the wait for the events; installing bounds that for packages, which come from registries.
	patience, installing = time.Minute, 5 * time.Minute
)

// lonely begins the tokens of shoppers to whom one product is recommended, without a queryID.
const lonely = "lonely-"

// An example is a program in a folder of examples/storefront.
type example struct {
	folder  string
	install [][]string // commands that run in a copy of the folder
	run     []string
}

var all = []example{
	{folder: "go", install: [][]string{{"go", "build", "-o", "storefront", "eventworker/examples/storefront/go"}}, run: []string{"./storefront"}},
	{folder: "javascript", install: [][]string{{"npm", "ci", "--no-audit", "--no-fund", "--silent"}}, run: []string{"node", "storefront.mjs"}},
	{folder: "java", install: [][]string{{"mvn", "-q", "-B", "compile", "dependency:copy-dependencies"}},
		run: []string{"java", "-cp", "target/classes:target/dependency/*", "Storefront"}},
	{folder: "python", install: [][]string{{"python3", "-m", "venv", "venv"}, {"venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"}},
		run: []string{"venv/bin/python", "storefront.py"}},
}

func TestEachStorefrontExampleIsAttributed(t *testing.T) {
	s := open(t)
	for _, x := range all {
		t.Run(x.folder, func(t *testing.T) {
			token := "shopper-" + x.folder
			p := s.install(t, &x)
			p.mustRun(t, token)
			s.attributed(t, token)

			absorbed := s.absorbed()
			p.mustRun(t, token) // the same order once more
			s.await(t, "the repeated order", func() bool { return s.absorbed() > absorbed })
			if n := s.purchasesOf(token); n != 1 {
				t.Errorf("an order whose checkout was tried again counts %d times", n)
			}

			if out, err := p.run(t, lonely+token); err == nil || !strings.Contains(out, "fewer than two recommendations") ||
				strings.Contains(out, "Traceback") || strings.Contains(out, "    at ") {
				t.Errorf("with one recommendation, and no queryID: %v\n%s", err, out)
			}
		})
	}
}

// shop is what the examples talk to: a broker, a fake Recommend API, and a worker with a fake
// Insights API behind it.
type shop struct {
	broker, topic string
	recommend     *httptest.Server
	worker        *worker.Worker

	mu      sync.Mutex
	asked   map[string]string // the queryID that each user token was given
	wrong   []string          // what was wrong with requests to Recommend
	events  []insightsfake.Event
	arrived chan struct{} // gets a value when events came
}

func open(t *testing.T) *shop {
	broker := realtest.Kafka(t)
	s := &shop{broker: broker, topic: realtest.Topic(t, broker, partitions), asked: map[string]string{}, arrived: make(chan struct{}, 1)}
	s.recommend = httptest.NewServer(http.HandlerFunc(s.recommendations))
	t.Cleanup(s.recommend.Close)

	fake := insightsfake.New(insightsfake.Options{Credentials: map[string][]string{appID: {apiKey}}, OnAccept: s.accept})
	insights := httptest.NewServer(fake)
	t.Cleanup(insights.Close)

	c := config.Default()
	c.Kafka.Brokers, c.Kafka.Group, c.Kafka.Topics = []string{broker}, "group-of-"+s.topic, []string{s.topic}
	c.Kafka.DeadLetterTopic, c.Kafka.ReplayTopic = realtest.Topic(t, broker, partitions), realtest.Topic(t, broker, partitions)
	c.Kafka.SessionTimeout = 6 * time.Second
	c.Insights.Endpoint = insights.URL
	c.Insights.Applications = map[string]config.Application{config.DefaultApplication: {AppID: appID, APIKey: apiKey}}
	c.Store.Kind, c.Batch.Linger, c.Admin.Listen = "memory", 50*time.Millisecond, ""
	w, err := worker.New(c, worker.Options{Log: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	s.worker = w
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the worker: %v", err)
		}
	})
	return s
}

// recommendations answers as Algolia Recommend does, with a queryID only where clickAnalytics asks for it.
func (s *shop) recommendations(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Requests []struct {
			QueryParameters struct {
				ClickAnalytics bool     `json:"clickAnalytics"`
				UserToken      string   `json:"userToken"`
				AnalyticsTags  []string `json:"analyticsTags"`
			} `json:"queryParameters"`
		} `json:"requests"`
	}
	err := json.NewDecoder(r.Body).Decode(&body)
	if err == nil && (r.Method != http.MethodPost || r.URL.Path != "/1/indexes/*/recommendations") {
		err = fmt.Errorf("%s %s", r.Method, r.URL.Path)
	}
	if err == nil && r.Header.Get("X-Algolia-Application-Id") != appID {
		err = errors.New("no application id")
	}
	if err == nil && len(body.Requests) != 1 {
		err = fmt.Errorf("%d requests", len(body.Requests))
	}
	if err != nil {
		s.complain(err.Error())
		http.Error(w, `{"message":"bad request","status":400}`, http.StatusBadRequest)
		return
	}
	q := body.Requests[0].QueryParameters
	if !q.ClickAnalytics || q.UserToken == "" || len(q.AnalyticsTags) == 0 {
		s.complain("clickAnalytics, userToken or analyticsTags are missing")
	}
	s.mu.Lock()
	queryID := fmt.Sprintf("%032x", len(s.asked)+1)
	s.asked[q.UserToken] = queryID
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if strings.HasPrefix(q.UserToken, lonely) {
		fmt.Fprint(w, `{"results":[{"hits":[{"objectID":"sku-1","_score":90}],"processingTimeMS":1}]}`)
		return
	}
	fmt.Fprintf(w, `{"results":[{"hits":[{"objectID":"sku-1","_score":90},{"objectID":"sku-2","_score":80},{"objectID":"sku-3","_score":70}],`+
		`"processingTimeMS":1,"queryID":%q}]}`, queryID)
}

func (s *shop) complain(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, what)
}

func (s *shop) accept(_ string, events []insightsfake.Event) {
	s.mu.Lock()
	s.events = append(s.events, events...)
	s.mu.Unlock()
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

// program is an example that is installed.
type program struct {
	dir string
	cmd []string
	env []string
}

// install installs an example in a copy of its folder.
func (s *shop) install(t *testing.T, x *example) *program {
	dir := filepath.Join(t.TempDir(), x.folder)
	if err := os.CopyFS(dir, os.DirFS("../../examples/storefront/"+x.folder)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), installing)
	defer cancel()
	for _, args := range x.install {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = dir
		if x.folder == "go" {
			cmd.Args[3], cmd.Dir = filepath.Join(dir, "storefront"), "" // it is built where its module is
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	return &program{dir: dir, cmd: x.run, env: append(os.Environ(), "KAFKA_BROKERS="+s.broker, "KAFKA_TOPIC="+s.topic,
		"ALGOLIA_APP_ID="+appID, "ALGOLIA_API_KEY="+apiKey, "ALGOLIA_URL="+s.recommend.URL)}
}

// run runs the example as a shopper's visit, whose order is always the same.
func (p *program) run(t *testing.T, token string) (out string, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.cmd[0], p.cmd[1:]...)
	cmd.Dir, cmd.Env = p.dir, append(slices.Clone(p.env), "USER_TOKEN="+token, "ORDER_NUMBER=of-"+token)
	said, err := cmd.CombinedOutput()
	return string(said), err
}

func (p *program) mustRun(t *testing.T, token string) {
	t.Helper()
	if out, err := p.run(t, token); err != nil {
		t.Fatalf("%v: %v\n%s", p.cmd, err, out)
	}
}

// await looks until cond holds.
func (s *shop) await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s did not come", what)
		}
	}
}

// absorbed is how many messages the worker took as repetitions, or had nothing to send of.
func (s *shop) absorbed() int64 {
	now := s.worker.Ledger().Snapshot()
	return now.TotalAbsorbed()
}

func (s *shop) purchasesOf(token string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.events {
		if s.events[i].UserToken == token && s.events[i].EventSubtype == "purchase" {
			n++
		}
	}
	return n
}

// attributed waits for the events of a user and holds them against what the example did.
func (s *shop) attributed(t *testing.T, token string) {
	deadline := time.After(patience)
	for {
		view, click, purchase, queryID := s.eventsOf(t, token)
		if view != nil && click != nil && purchase != nil {
			switch {
			case !slices.Equal(view.ObjectIDs, []string{"sku-1", "sku-2", "sku-3"}):
				t.Errorf("the view has %q", view.ObjectIDs)
			case click.QueryID != queryID || !slices.Equal(click.ObjectIDs, []string{"sku-2"}) || !slices.Equal(click.Positions, []int{2}):
				t.Errorf("the click on sku-2 at position 2 of %s came as %+v", queryID, *click)
			case len(purchase.ObjectData) != 1 || purchase.ObjectData[0].QueryID != queryID || purchase.Value != "39.8" || purchase.Currency != "EUR":
				t.Errorf("the purchase of two sku-2 for 19.90 EUR from %s came as %+v", queryID, *purchase)
			}
			return
		}
		select {
		case <-s.arrived:
		case <-deadline:
			t.Fatalf("of %s came: view %v, click %v, purchase %v", token, view != nil, click != nil, purchase != nil)
		}
	}
}

func (s *shop) eventsOf(t *testing.T, token string) (view, click, purchase *insightsfake.Event, queryID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, what := range s.wrong {
		t.Fatalf("a request to Recommend: %s", what)
	}
	for i := range s.events {
		e := &s.events[i]
		if e.UserToken != token {
			continue
		}
		switch {
		case e.EventType == "view":
			view = e
		case e.EventType == "click":
			click = e
		case e.EventSubtype == "purchase":
			purchase = e
		}
	}
	return view, click, purchase, s.asked[token]
}

package worker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"time"

	"eventworker/internal/config"
	"eventworker/internal/event"
	"eventworker/internal/join"
	"eventworker/internal/querystore"
)

// StoreUserPath is where the admin server says what the store holds of a user.
const StoreUserPath = "/store/user"

// UserQuery asks for a user's history. The token stands in the body of a request, never in an address.
type UserQuery struct {
	Application string `json:"application"` // empty: default
	UserToken   string `json:"userToken"`
	// ObjectID asks which impression or click an item of this object takes at the time At (milliseconds;
	// 0: now), and which ones are passed over and why.
	ObjectID string `json:"objectID,omitempty"`
	At       int64  `json:"at,omitempty"`
}

// UserHistory is what the store holds of a user. It does not repeat the token.
type UserHistory struct {
	Schema      string `json:"schema"` // eventworker.store-user/v1
	Application string `json:"application"`
	Task        int32  `json:"task"`
	// Impressions and Clicks are the newest, the newest first; More says how many more there are.
	Impressions     []StoredImpression `json:"impressions"`
	MoreImpressions int                `json:"more_impressions"`
	Clicks          []StoredClick      `json:"clicks"`
	MoreClicks      int                `json:"more_clicks"`
	// Forgotten is when the user was forgotten; what is older is not shown, and answers nothing.
	Forgotten *time.Time `json:"forgotten,omitempty"`
	// Complete is false while the store still lacks what earlier messages left.
	Complete    bool         `json:"complete"`
	Explanation *Explanation `json:"explanation,omitempty"`
}

// StoredImpression is one shown list with a queryID.
type StoredImpression struct {
	Time    time.Time `json:"time"`
	Topic   string    `json:"topic"`
	Offset  int64     `json:"offset"`
	List    int       `json:"list"`
	QueryID string    `json:"queryID"`
	Index   string    `json:"index"`
	Model   string    `json:"model,omitempty"`
	// ObjectIDs are the first mostObjects of Objects.
	ObjectIDs []string `json:"objectIDs"`
	Objects   int      `json:"objects"`
	// PositionOffset is added to an object's place in the list.
	PositionOffset int64 `json:"positionOffset"`
}

// StoredClick is one clicked object that ended with a queryID.
type StoredClick struct {
	Time     time.Time `json:"time"`
	Topic    string    `json:"topic"`
	Offset   int64     `json:"offset"`
	ObjectID string    `json:"objectID"`
	QueryID  string    `json:"queryID"`
	Index    string    `json:"index"`
}

// Explanation says what an item of an object takes.
type Explanation struct {
	ObjectID string    `json:"objectID"`
	At       time.Time `json:"at"`
	QueryID  string    `json:"queryID,omitempty"` // empty: plain
	Index    string    `json:"index,omitempty"`
	Position int32     `json:"position,omitempty"`
	// From is click, impression, later-impression, or empty.
	From       string        `json:"from"`
	Chosen     *StoredAnswer `json:"chosen,omitempty"`
	PassedOver []PassedOver  `json:"passed_over"`
	More       int           `json:"more"`
}

// StoredAnswer is an impression or a click that names the object.
type StoredAnswer struct {
	Kind     string    `json:"kind"` // impression, click
	Time     time.Time `json:"time"`
	Topic    string    `json:"topic"`
	Offset   int64     `json:"offset"`
	QueryID  string    `json:"queryID"`
	Index    string    `json:"index"`
	Model    string    `json:"model,omitempty"`
	Position int64     `json:"position,omitempty"`
}

// PassedOver is one that did not answer, and why.
type PassedOver struct {
	StoredAnswer
	Why string `json:"why"`
}

// The bounds of an answer.
const (
	mostRecords = 200 // impressions, and clicks
	mostObjects = 50  // of an impression
	// mostLookedUp is how many different objects of the impressions are looked up among the clicks.
	mostLookedUp = 500
)

// storeReader reads one section for people.
type storeReader struct {
	rules   *join.Config
	topics  []string // the input topics, as the section numbers them
	section querystore.Section
	remote  querystore.Section // the same, where it lies across a network; nil: it does not
	query   UserQuery
	now     time.Time
}

// sentToken is the token as it stands in events: replaced by its hash where tokens: hash says so.
func sentToken(rules *join.Config, token string) (string, error) {
	if token == "" {
		return "", errors.New("userToken is empty")
	}
	if event.ValidToken(token) {
		return token, nil
	}
	if !rules.HashTokens {
		return "", errors.New("userToken is not one of 1 to 128 of A-Z a-z 0-9 _ = / + -: no message with it is valid, so nothing is stored of it")
	}
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:]), nil
}

// read gives the history, and the explanation where one is asked for.
func (s *storeReader) read() (*UserHistory, error) {
	token, err := sentToken(s.rules, s.query.UserToken)
	if err != nil {
		return nil, err
	}
	h := &UserHistory{Schema: "eventworker.store-user/v1", Application: s.query.Application, Impressions: []StoredImpression{}, Clicks: []StoredClick{}}
	user := []byte(s.query.Application + "\x00" + token)
	if err := readAhead(s.remote, user); err != nil {
		return nil, err
	}
	names := make(map[uint16]string)
	for _, topic := range s.topics {
		names[s.section.Source(topic)] = topic
	}
	objects, err := s.impressions(h, user, names)
	if err == nil {
		err = s.clicks(h, user, names, objects)
	}
	if err == nil && s.query.ObjectID != "" {
		h.Explanation, err = s.explain(token)
	}
	return h, err
}

func (s *storeReader) impressions(h *UserHistory, user []byte, names map[uint16]string) (objects []string, err error) {
	seen := make(map[string]bool)
	look := func(id []byte) {
		if len(objects) < mostLookedUp && !seen[string(id)] {
			seen[string(id)] = true
			objects = append(objects, string(id))
		}
	}
	if s.query.ObjectID != "" {
		look([]byte(s.query.ObjectID))
	}
	err = s.section.Walk(user, func(r *querystore.Record) bool {
		if r.Kind != querystore.KindImpression {
			return true
		}
		for i := range r.Len() {
			look(r.ObjectIDAt(i))
		}
		one := StoredImpression{Time: time.UnixMilli(r.Time).UTC(), Topic: sourceName(names, r.Place.Source), Offset: r.Place.Offset, List: int(r.Ordinal),
			QueryID: string(r.QueryID()), Index: string(r.Index()), Model: string(r.Model()), Objects: r.Len(), PositionOffset: r.PositionOffset()}
		for i := range min(r.Len(), mostObjects) {
			one.ObjectIDs = append(one.ObjectIDs, string(r.ObjectIDAt(i)))
		}
		h.Impressions = append(h.Impressions, one)
		return len(h.Impressions) < 5*mostRecords
	})
	slices.SortStableFunc(h.Impressions, func(a, b StoredImpression) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.Offset, a.Offset), cmp.Compare(a.List, b.List))
	})
	if n := len(h.Impressions); n > mostRecords {
		h.Impressions, h.MoreImpressions = h.Impressions[:mostRecords], n-mostRecords
	}
	return objects, err
}

func (s *storeReader) clicks(h *UserHistory, user []byte, names map[uint16]string, objects []string) error {
	for _, object := range objects {
		err := s.section.Walk(querystore.AppendClickKey(nil, user, []byte(object)), func(r *querystore.Record) bool {
			if r.Kind != querystore.KindClick {
				return true
			}
			h.Clicks = append(h.Clicks, StoredClick{Time: time.UnixMilli(r.Time).UTC(), Topic: sourceName(names, r.Place.Source), Offset: r.Place.Offset,
				ObjectID: object, QueryID: string(r.QueryID()), Index: string(r.Index())})
			return len(h.Clicks) < 5*mostRecords
		})
		if err != nil {
			return err
		}
	}
	slices.SortStableFunc(h.Clicks, func(a, b StoredClick) int { return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.Offset, a.Offset)) })
	if n := len(h.Clicks); n > mostRecords {
		h.Clicks, h.MoreClicks = h.Clicks[:mostRecords], n-mostRecords
	}
	return nil
}

// sourceName is the name of a topic by its number in the section; records that a storefront wrote into
// Redis itself have none.
func sourceName(names map[uint16]string, source uint16) string {
	if name, ok := names[source]; ok {
		return name
	}
	if source == math.MaxUint16 {
		return "(storefront)"
	}
	return fmt.Sprintf("(topic %d)", source)
}

// explain has the join's own code decide an add-to-cart of the object, on a section that takes nothing.
func (s *storeReader) explain(token string) (*Explanation, error) {
	at := s.query.At
	if at == 0 {
		at = s.now.UnixMilli()
	}
	rules := *s.rules
	rules.MaxEventAge, rules.AllowedLateness, rules.Wait = 100*365*24*time.Hour, 0, 0
	rules.Dedupe, rules.OnMiss, rules.HashTokens = nil, join.MissSend, false
	rules.Applications = slices.Clone(s.rules.Applications)
	for i := range rules.Applications {
		rules.Applications[i].Served = true
	}
	rules.Now = func() time.Time { return s.now }
	value, err := json.Marshal(map[string]any{
		"type": "recommendation.addedToCart", "userToken": token, "application": s.query.Application, "timestamp": at,
		"items": []map[string]any{{"objectID": s.query.ObjectID}},
	})
	if err != nil {
		return nil, err
	}
	// Every record of the log counts as read: what is stored answers.
	const end = math.MaxInt64 / 2
	var sources []join.SourceConfig
	for _, topic := range s.topics {
		sources = append(sources, join.SourceConfig{Topic: topic, Start: end, Deliver: end, Progress: end, Shown: true, Clicked: true})
	}
	out := &explained{}
	out.task = join.NewTask[int](&rules, readOnly{s.section}, sources, out)
	out.task.Clock(s.now.UnixMilli())
	if err := out.task.Handle(0, 0, join.Message{Offset: end, Time: at, Key: []byte(token), Value: value}); err != nil {
		return nil, err
	}
	switch {
	case out.err != nil:
		return nil, out.err
	case out.refused != "":
		return nil, errors.New(out.refused)
	case len(out.list) == 0:
		return nil, errors.New("the join did not decide")
	}
	return explanationOf(&out.list[0]), nil
}

func explanationOf(e *join.Explanation) *Explanation {
	x := &Explanation{ObjectID: e.ObjectID, At: time.UnixMilli(e.At).UTC(), QueryID: e.QueryID, Index: e.Index, Position: e.Position, From: e.From,
		PassedOver: []PassedOver{}, More: e.More}
	if e.Chosen != nil {
		a := answerOf(e.Chosen)
		x.Chosen = &a
	}
	for i := range e.PassedOver {
		x.PassedOver = append(x.PassedOver, PassedOver{answerOf(&e.PassedOver[i]), string(e.PassedOver[i].Why)})
	}
	return x
}

func answerOf(c *join.Candidate) StoredAnswer {
	kind := "impression"
	if c.Click {
		kind = "click"
	}
	return StoredAnswer{Kind: kind, Time: time.UnixMilli(c.Time).UTC(), Topic: c.Topic, Offset: c.Offset, QueryID: c.QueryID, Index: c.Index, Model: c.Model, Position: c.Position}
}

// explained hears what the join says of the one message.
type explained struct {
	task    *join.Task[int]
	list    []join.Explanation
	refused string
	err     error
}

func (e *explained) tell() { e.list, e.err = e.task.Explain() }

// Encoded implements join.Output.
func (e *explained) Encoded(int, int, bool) { e.tell() }

// Absorbed implements join.Output.
func (e *explained) Absorbed(_ int, why join.Absorption) {
	if why == join.Dropped {
		e.tell()
	}
}

// Refused implements join.Output.
func (e *explained) Refused(_ int, r *event.Refusal, _ join.About) {
	if r.Stage == event.StageJoin {
		e.tell()
	} else {
		e.refused = r.Message
	}
}

// Restored, Keep, Kept and Wide implement join.Output; they are not called.
func (e *explained) Restored(int) {}

// Keep implements join.Output.
func (e *explained) Keep(int) {}

// Kept implements join.Output.
func (e *explained) Kept(int) join.Message { return join.Message{} }

// Wide implements join.Output.
func (e *explained) Wide(int, uint16, []uint16) {}

// readOnly is a section that takes nothing.
type readOnly struct{ querystore.Section }

// SetCoverage implements querystore.Section.
func (readOnly) SetCoverage(uint16, querystore.Coverage) {}

// Coverage implements querystore.Section: everything is covered.
func (readOnly) Coverage(uint16) querystore.Coverage {
	return querystore.Coverage{Applied: math.MaxInt64 / 2, Written: math.MaxInt64 / 2}
}

// AddImpression implements querystore.Section.
func (readOnly) AddImpression([]byte, *querystore.Impression) error { return nil }

// AddClick implements querystore.Section.
func (readOnly) AddClick([]byte, *querystore.Click) error { return nil }

// AddMark implements querystore.Section.
func (readOnly) AddMark([]byte, *querystore.Mark) error { return nil }

// Expire implements querystore.Section.
func (readOnly) Expire(int64) error { return nil }

// ErrElsewhere says that another worker has the partition of a user.
var ErrElsewhere = errors.New("this worker does not have the partition that murmur2 gives this userToken: ask the other workers of the group (eventworker group show names them)")

// StoreUser says what the store holds of a user.
func (w *Worker) StoreUser(ctx context.Context, q UserQuery) (*UserHistory, error) {
	if q.Application == "" {
		q.Application = config.DefaultApplication
	}
	if !slices.ContainsFunc(w.rules.Applications, func(a join.Application) bool { return a.Name == q.Application }) {
		return nil, fmt.Errorf("application %q is not among insights.applications", q.Application)
	}
	r := w.runnerOf([]byte(q.UserToken))
	if r == nil {
		return nil, ErrElsewhere
	}
	reader := storeReader{rules: w.rules, topics: w.inputTopics(), section: r.effects, remote: r.section, query: q, now: time.Now()}
	var h *UserHistory // neither is looked at where the task has not answered: it may be about to
	var err error
	if asked := r.ask(ctx, func() { h, err = reader.read() }); asked != nil {
		return nil, asked
	}
	if err != nil {
		return nil, err
	}
	h.Task = r.source.Number
	h.Complete = w.restoring() == 0
	if token, terr := sentToken(w.rules, q.UserToken); terr == nil {
		if at := w.forgotten.since(token); at > 0 {
			t := time.UnixMilli(at).UTC()
			h.Forgotten = &t
		}
	}
	return h, nil
}

// handleStoreUser answers 200 with a UserHistory, 404 where another worker has the partition, 400 for a
// wrong question, 503 while the task or its store does not answer.
func (w *Worker) handleStoreUser(out http.ResponseWriter, r *http.Request) {
	var q UserQuery
	if err := readBody(r, &q); err != nil {
		answerError(out, http.StatusBadRequest, err)
		return
	}
	h, err := w.StoreUser(r.Context(), q)
	if err != nil {
		answerError(out, codeOf(err), err)
		return
	}
	answerJSON(out, http.StatusOK, h)
}

func codeOf(err error) int {
	switch {
	case errors.Is(err, ErrElsewhere):
		return http.StatusNotFound
	case errors.Is(err, errBusy), errors.As(err, new(*querystore.RedisError)), querystore.MustReopen(err):
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// readBody reads a small JSON object with known keys only, and nothing after it.
func readBody(r *http.Request, into any) error {
	dec := json.NewDecoder(io.LimitReader(r.Body, 64<<10))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return errors.New("want a JSON object in the body; it has a mistake, or a key that is not known")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("want one JSON object in the body, and nothing after it")
	}
	return nil
}

// AdminError is how the admin server's JSON endpoints say that something was not done.
type AdminError struct {
	Schema string `json:"schema"` // eventworker.error/v1
	Error  string `json:"error"`
}

func answerError(out http.ResponseWriter, code int, err error) {
	answerJSON(out, code, AdminError{"eventworker.error/v1", err.Error()})
}

func answerJSON(out http.ResponseWriter, code int, v any) {
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(code)
	_ = json.NewEncoder(out).Encode(v) // a caller that went away is no failure of ours
}

package telemetry

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// StatusPage is what /statusz shows people, and, under "overview", programs. Names and meanings of its
// JSON keys are stable; keys may be added.
type StatusPage struct {
	// Verdict says in one sentence how the worker does; Level is ok, warn or bad.
	Verdict string `json:"verdict"`
	Level   string `json:"level"`

	Messages   MessageFlow    `json:"messages"`
	Facts      []Fact         `json:"facts"`
	Partitions []PartitionRow `json:"partitions"`
	// MissingTopics are input topics that do not exist.
	MissingTopics []string          `json:"missing_topics"`
	Deliveries    []DeliveryRow     `json:"applications"`
	DeadLetters   DeadLetterSection `json:"dead_letters"`
	Store         []Fact            `json:"store"`
	Attribution   []Share           `json:"attribution"`
	Hints         []Count           `json:"hints"`
	Config        []ConfigRow       `json:"config"`
	Reload        []Fact            `json:"reload"`
}

// MessageFlow is the message equation at one instant.
type MessageFlow struct {
	Received int64  `json:"received"`
	Parts    []Part `json:"parts"` // they add up to Received
	Gap      int64  `json:"gap"`   // 0
}

// Part is one term of the equation.
type Part struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// Fact is a line about something: a name, a value for people, and a level where it is not well.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Level string `json:"level,omitempty"` // warn, bad; empty: fine
}

// Count is how often something happened.
type Count struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// Share is a count and its share of the whole.
type Share struct {
	Name  string  `json:"name"`
	Count int64   `json:"count"`
	Share float64 `json:"share"` // 0 to 1
}

// PartitionRow is one partition of this worker.
type PartitionRow struct {
	Topic      string  `json:"topic"`
	Partition  int32   `json:"partition"`
	State      string  `json:"state"` // ok, warn, stop, stall, rewind
	Why        string  `json:"why,omitempty"`
	Lag        int64   `json:"lag_messages"`
	LagSeconds float64 `json:"lag_seconds"` // -1: not known
	Frontier   int64   `json:"frontier"`
	Next       int64   `json:"next"`
	End        int64   `json:"end"`
	HeldBytes  int64   `json:"held_bytes"`
	Oldest     *Oldest `json:"oldest_unsettled,omitempty"`
	Restoring  int64   `json:"restoring"`
}

// Oldest is what holds up a partition's frontier.
type Oldest struct {
	Offset int64     `json:"offset"`
	Since  time.Time `json:"since"`
	Why    string    `json:"why"`
}

// DeliveryRow is one application.
type DeliveryRow struct {
	Application string    `json:"application"`
	State       string    `json:"state"`
	Level       string    `json:"level"`
	Since       time.Time `json:"since"`
	Why         string    `json:"why,omitempty"`
	Breaker     string    `json:"breaker"`
	Paused      bool      `json:"paused"`
	NextTry     string    `json:"next_try,omitempty"`
	InFlight    int       `json:"in_flight"`
	Limit       int       `json:"limit"`
	Requests    int64     `json:"requests"`
	// Median and P99 are of the last requests, seconds; 0: there was none.
	Median float64 `json:"request_seconds_p50"`
	P99    float64 `json:"request_seconds_p99"`
	// Statuses are how the last requests were answered, the most frequent first.
	Statuses []Count `json:"statuses"`
	Pending  int     `json:"pending_events"`
}

// DeadLetterSection is about the dead letters since the worker began.
type DeadLetterSection struct {
	Pending  int       `json:"pending"` // not yet acknowledged
	Failing  string    `json:"failing,omitempty"`
	Reasons  []Count   `json:"reasons"`
	Causes   []Cause   `json:"causes"`
	Refusals []Refusal `json:"refusals"`
}

// Cause is a group of dead letters with the same remedy.
type Cause struct {
	ID     string    `json:"cause"`
	Reason string    `json:"reason"`
	Stage  string    `json:"stage"`
	What   string    `json:"what"` // field, rule, or the API's words without values
	Count  int64     `json:"count"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
}

// Refusal is an event that the API refused, in its words without values.
type Refusal struct {
	At          time.Time `json:"at"`
	Application string    `json:"application"`
	Status      int       `json:"status"`
	Words       string    `json:"words"`
}

// ConfigRow is one setting as it is in force.
type ConfigRow struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // secrets as ***
	Origin string `json:"origin"`
}

//go:embed status.html
var statusText string

var statusTemplate = template.Must(template.New("status").Funcs(template.FuncMap{
	"number": number, "ago": ago, "seconds": seconds, "percent": percent, "bytes": byteText, "clock": clock, "mark": mark,
	"title": title, "bar": barOf, "waits": waits,
}).Parse(statusText))

// statusView is what the template shows.
type statusView struct {
	*StatusPage
	Version    string
	Now        time.Time
	Ready      bool
	Conditions []Condition
	Failing    []Condition
	Unhealthy  bool // only partitions that are not ok
	Rows       []PartitionRow
	Refresh    int // seconds; 0: not
	Query      string
}

// refreshes are the choices of how often the page loads itself again, in seconds.
var refreshes = []int{0, 5, 30}

// Refreshes are the choices.
func (statusView) Refreshes() []int { return refreshes }

// Link is the page's address with one thing changed; everything it shows follows from its address.
func (v statusView) Link(refresh int, unhealthy bool) string {
	query := "statusz?refresh=" + strconv.Itoa(refresh)
	if unhealthy {
		query += "&partitions=unhealthy"
	}
	return query
}

func (a *Admin) statusPage(w http.ResponseWriter, r *http.Request, doc *statusDocument) {
	v := statusView{StatusPage: doc.Overview, Version: doc.Version, Now: time.Now(), Ready: doc.Ready, Conditions: doc.Conditions,
		Unhealthy: r.FormValue("partitions") == "unhealthy", Rows: doc.Overview.Partitions}
	for _, c := range doc.Conditions {
		if !c.OK {
			v.Failing = append(v.Failing, c)
		}
	}
	if n, err := strconv.Atoi(r.FormValue("refresh")); err == nil && n > 0 {
		v.Refresh = min(max(n, 2), 3600)
	}
	if v.Unhealthy {
		v.Rows = nil
		for _, p := range doc.Overview.Partitions {
			if p.State != "ok" {
				v.Rows = append(v.Rows, p)
			}
		}
	}
	writeTemplate(w, statusTemplate, v)
}

// barPart is a part of the bar in hundredths of a percent of its width.
type barPart struct {
	Part
	X, Width float64
	Class    string
}

// barWidth is the width of the bar in the units of its drawing.
const barWidth = 1000

// barOf lays the parts side by side. What is there at all can be seen: it has a width of 3 at least.
func barOf(f MessageFlow) []barPart {
	var parts []barPart
	total := 0.0
	for _, p := range f.Parts {
		if p.Count > 0 {
			total += float64(p.Count)
		}
	}
	if total == 0 {
		return nil
	}
	sum := 0.0
	for _, p := range f.Parts {
		if p.Count <= 0 {
			continue
		}
		width := max(3, float64(p.Count)/total*barWidth)
		parts = append(parts, barPart{Part: p, Width: width, Class: strings.ReplaceAll(p.Name, " ", "-")})
		sum += width
	}
	x := 0.0
	for i := range parts {
		parts[i].X, parts[i].Width = math.Round(x*10)/10, math.Round(parts[i].Width*barWidth/sum*10)/10
		x += parts[i].Width
	}
	return parts
}

// waits says what a partition waits for, each reason once.
func waits(p PartitionRow) string {
	text := p.Why
	if o := p.Oldest; o != nil {
		if strings.Contains(o.Why, p.Why) {
			text = ""
		}
		if text != "" {
			text += "; "
		}
		text += "offset " + number(o.Offset) + ", the oldest for " + ShortDuration(max(0, time.Since(o.Since))) + ": " + o.Why
	}
	return text
}

// mark is the shape that stands beside a state, so that it is not told by colour alone.
func mark(level string) string {
	switch level {
	case "", "ok":
		return "✓"
	case "warn", "rewind":
		return "▲"
	}
	return "✗"
}

func title(s string) string { return strings.ToUpper(s) }

// number writes thousands apart.
func number(n any) string {
	s := fmt.Sprint(n)
	digits, sign := s, ""
	if strings.HasPrefix(s, "-") {
		digits, sign = s[1:], "−"
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return sign + digits
}

func percent(share float64) string { return strconv.FormatFloat(share*100, 'f', 1, 64) + " %" }

// seconds writes a time of requests or a lag; a negative one is not known.
func seconds(s float64) string {
	switch {
	case s < 0:
		return "–"
	case s == 0:
		return "0 s"
	case s < 1:
		return strconv.FormatFloat(s*1000, 'f', 0, 64) + " ms"
	case s < 60:
		return strconv.FormatFloat(s, 'f', 1, 64) + " s"
	}
	return ShortDuration(time.Duration(s * float64(time.Second)))
}

func byteText(n int64) string {
	switch {
	case n >= 1<<30:
		return strconv.FormatFloat(float64(n)/(1<<30), 'f', 1, 64) + " GiB"
	case n >= 1<<20:
		return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MiB"
	case n >= 1<<10:
		return strconv.FormatFloat(float64(n)/(1<<10), 'f', 1, 64) + " KiB"
	}
	return number(n) + " B"
}

// Number writes a number with its thousands apart.
func Number(n int64) string { return number(n) }

// ByteText writes a number of bytes for people.
func ByteText(n int64) string { return byteText(n) }

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func ago(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return ShortDuration(max(0, time.Since(t))) + " ago"
}

// ShortDuration is a duration for people: two units at most.
func ShortDuration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d/time.Millisecond)
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

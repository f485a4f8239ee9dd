package telemetry

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// busyPage is a page with something in each place, some of it hostile.
func busyPage() *StatusPage {
	const evil = `<script>alert("x")</script>`
	now := time.Now()
	return &StatusPage{
		Verdict: "Delivery waits; 1 partition in STOP", Level: "bad",
		Messages:      MessageFlow{Received: 1234567, Parts: []Part{{"delivered", 1234000}, {"absorbed", 0}, {"dead-lettered", 7}, {"released", 60}, {"in flight", 500}}},
		Facts:         []Fact{{Name: "Behind", Value: evil, Level: "warn"}},
		MissingTopics: []string{"recomendation-events"},
		Partitions: []PartitionRow{
			{Topic: "events", Partition: 0, State: "ok"},
			{Topic: "events", Partition: 1, State: "stop", Why: evil, Lag: 5000, LagSeconds: 90, Oldest: &Oldest{Offset: 42, Since: now, Why: "delivery"}},
		},
		Deliveries:  []DeliveryRow{{Application: "default", State: "unavailable", Level: "warn", Since: now, Why: evil, Breaker: "open", Statuses: []Count{{"503", 9}}}},
		DeadLetters: DeadLetterSection{Failing: evil, Reasons: []Count{{"invalid", 7}}, Causes: []Cause{{ID: "c1-1", What: evil, First: now, Last: now}}, Refusals: []Refusal{{At: now, Words: evil}}},
		Store:       []Fact{{Name: "Kind", Value: "disk"}},
		Attribution: []Share{{"an impression", 5, 0.5}},
		Hints:       []Count{{"record not keyed", 3}},
		Config:      []ConfigRow{{"kafka.group", evil, "--set"}, {"admin.token", "***", "env"}},
		Reload:      []Fact{{Name: "Last reload, refused", Value: evil, Level: "bad"}},
	}
}

func statusPageOf(t *testing.T, path string, page *StatusPage) string {
	t.Helper()
	h := NewHealth("kafka")
	base, c := serve(t, AdminOptions{Health: h, Version: "v1", Page: func() *StatusPage { return page }})
	answer, body := get(t, c, base+path, "text/html")
	if answer.StatusCode != 200 || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %s", answer.StatusCode, body)
	}
	return body
}

func TestStatusPageShowsEverythingEscapedAndWithoutScript(t *testing.T) {
	body := statusPageOf(t, "/statusz", busyPage())
	for _, want := range []string{
		"Delivery waits; 1 partition in STOP", "<strong>1,234,567</strong> received", "<strong>500</strong> in flight", "events/1", "✗</span> STOP", "1 min 30 s",
		"offset 42", "UNAVAILABLE", "503&nbsp;×&nbsp;9", "c1-1", "an impression", "50.0 %", "kafka.group", "***", "not yet known",
		`<th scope="row">recomendation-events</th>`, "✗</span> MISSING",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, never := range []string{"<script", "style=", " onclick", "javascript:"} {
		if strings.Contains(body, never) {
			t.Errorf("the page has %q", never)
		}
	}
}

func TestStatusPageCanBeReadWithoutSight(t *testing.T) {
	body := statusPageOf(t, "/statusz", busyPage())
	if tables, captions := strings.Count(body, "<table>"), strings.Count(body, "<caption>"); tables != captions || tables < 6 {
		t.Errorf("%d tables, %d captions", tables, captions)
	}
	if all, scoped := strings.Count(body, "<th ")+strings.Count(body, "<th>"), strings.Count(body, "<th scope="); all != scoped {
		t.Errorf("%d of %d header cells have a scope", scoped, all)
	}
	for _, want := range []string{`lang="en"`, `<main>`, `role="status" aria-live="polite"`, `role="img" aria-label=`, `tabindex="0" role="group" aria-label=`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if n := strings.Count(body, "<h1"); n != 1 {
		t.Errorf("%d headings of the first level", n)
	}
	// A state is a word and a shape, never a colour alone.
	for _, m := range regexp.MustCompile(`<span class="state [a-z]+">([^\n]*?)</span> ?[A-Z]*</span>`).FindAllString(body, -1) {
		if !strings.Contains(m, `aria-hidden="true"`) || !regexp.MustCompile(`[A-Z]{2,}</span>$`).MatchString(m) {
			t.Errorf("a state without a shape or a word: %s", m)
		}
	}
}

func TestStatusPageKeepsItsChoicesInItsAddress(t *testing.T) {
	body := statusPageOf(t, "/statusz?refresh=5&partitions=unhealthy", busyPage())
	if strings.Contains(body, "events/0") || !strings.Contains(body, "events/1") {
		t.Error("the filter does not hold")
	}
	for _, want := range []string{`<meta http-equiv="refresh" content="5">`, `href="statusz?refresh=30&amp;partitions=unhealthy"`, `href="statusz?refresh=5"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(statusPageOf(t, "/statusz", busyPage()), "http-equiv") {
		t.Error("it loads itself again unasked")
	}
	healthy := busyPage()
	healthy.Partitions = healthy.Partitions[:1]
	if body := statusPageOf(t, "/statusz?partitions=unhealthy", healthy); !strings.Contains(body, "All 1 partitions are ok") {
		t.Error("nothing to show, and it does not say so")
	}
	healthy.Partitions = nil
	if body := statusPageOf(t, "/statusz", healthy); !strings.Contains(body, "This worker has no partitions") {
		t.Error("no partitions, and it does not say so")
	}
}

// The names that programs read. Adding one is fine; changing or removing one breaks somebody.
func TestStatusJSONKeepsItsNames(t *testing.T) {
	encoded, err := json.Marshal(busyPage())
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(encoded, &doc); err != nil {
		t.Fatal(err)
	}
	paths := map[string]bool{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, child := range v {
				walk(path+"."+key, child)
			}
		case []any:
			for _, child := range v {
				walk(path+"[]", child)
			}
		default:
			paths[path] = true
		}
	}
	walk("", doc)
	for _, want := range []string{
		".verdict", ".level", ".messages.received", ".messages.gap", ".messages.parts[].name", ".messages.parts[].count", ".facts[].name", ".facts[].value",
		".partitions[].topic", ".partitions[].partition", ".partitions[].state", ".partitions[].why", ".partitions[].lag_messages", ".partitions[].lag_seconds",
		".partitions[].frontier", ".partitions[].end", ".partitions[].oldest_unsettled.offset", ".partitions[].oldest_unsettled.since",
		".applications[].application", ".applications[].state", ".applications[].breaker", ".applications[].in_flight", ".applications[].limit", ".applications[].pending_events",
		".applications[].request_seconds_p50", ".applications[].request_seconds_p99", ".dead_letters.reasons[].name", ".dead_letters.causes[].cause",
		".dead_letters.causes[].count", ".dead_letters.refusals[].words", ".attribution[].share", ".config[].key", ".config[].value", ".config[].origin",
	} {
		if !paths[want] {
			t.Errorf("the JSON lacks %s", want)
		}
	}
}

func TestBarAddsUpAndHidesNothing(t *testing.T) {
	parts := barOf(MessageFlow{Parts: []Part{{"delivered", 1_000_000}, {"absorbed", 0}, {"dead-lettered", 1}, {"in flight", 3}}})
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	x := 0.0
	for _, p := range parts {
		if math.Abs(p.X-x) > 0.2 || p.Width < 2 {
			t.Errorf("%s: from %v, width %v, want from %v", p.Name, p.X, p.Width, x)
		}
		x += p.Width
	}
	if math.Abs(x-barWidth) > 0.5 {
		t.Errorf("they add up to %v", x)
	}
	if barOf(MessageFlow{Parts: []Part{{"delivered", 0}}}) != nil {
		t.Error("a bar of nothing")
	}
}

func TestNumbersForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "−1,000"} {
		if got := number(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0 ms", 250 * time.Millisecond: "250 ms", 40 * time.Second: "40 s", 95 * time.Second: "1 min 35 s", 95 * time.Hour: "3 d 23 h", 90 * time.Minute: "1 h 30 min",
	} {
		if got := ShortDuration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	for s, want := range map[float64]string{-1: "–", 0: "0 s", 0.25: "250 ms", 4.2: "4.2 s", 120: "2 min 0 s"} {
		if got := seconds(s); got != want {
			t.Errorf("%v: %q, want %q", s, got, want)
		}
	}
}

// Text has a contrast of 4.5:1 at least on every ground it stands on, light and dark (WCAG 2.2, 1.4.3).
func TestColoursHaveContrast(t *testing.T) {
	css, err := os.ReadFile("style.css")
	if err != nil {
		t.Fatal(err)
	}
	colours := map[string][]string{}
	for _, m := range regexp.MustCompile(`--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)`).FindAllStringSubmatch(string(css), -1) {
		colours[m[1]] = m[2:]
	}
	for _, pair := range []string{
		"ink ground", "ink panel", "quiet ground", "quiet panel", "link ground", "ok ground", "warn ground", "bad ground",
		"ok ok-ground", "warn warn-ground", "bad bad-ground", "quiet warn-ground", "quiet bad-ground",
	} {
		names := strings.Fields(pair)
		text, ground := colours[names[0]], colours[names[1]]
		if text == nil || ground == nil {
			t.Errorf("%s: no such colours", pair)
			continue
		}
		for i, scheme := range []string{"light", "dark"} {
			if c := contrast(t, text[i], ground[i]); c < 4.5 {
				t.Errorf("%s, %s: %.2f", pair, scheme, c)
			}
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	l := []float64{luminance(t, a), luminance(t, b)}
	slices.Sort(l)
	return (l[1] + 0.05) / (l[0] + 0.05)
}

func luminance(t *testing.T, hex string) (sum float64) {
	t.Helper()
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
		if err != nil {
			t.Fatal(fmt.Errorf("%s: %w", hex, err))
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

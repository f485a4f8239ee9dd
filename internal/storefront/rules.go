package storefront

import "time"

// Application is what the truth has to know of a configured application.
type Application struct {
	DefaultIndex string   `json:"default_index,omitempty"`
	Indices      []string `json:"indices,omitempty"` // nil: any index is allowed
}

// The settings of join.attribution and join.on_miss.
const (
	ClickedThenShown = "clicked-then-shown"
	OnlyClicked      = "clicked"
	OnlyShown        = "shown"

	OnMissSend       = "send"
	OnMissDeadLetter = "dead-letter"
	OnMissDrop       = "drop"
)

// Rules are those settings of the worker that the truth depends on. The worker must run with the
// same. All durations are counted in whole milliseconds.
type Rules struct {
	Applications map[string]Application `json:"applications"`
	// EventNames by shown, clicked, addedToCart, purchased.
	EventNames map[string]string `json:"event_names"`
	SendViews  bool              `json:"send_views"`
	HashTokens bool              `json:"hash_tokens"`

	Window          time.Duration `json:"window"`
	ClickWindow     time.Duration `json:"click_window"`
	ClockSkew       time.Duration `json:"clock_skew"`
	AllowedLateness time.Duration `json:"allowed_lateness"`
	Attribution     string        `json:"attribution"`
	OnMiss          string        `json:"on_miss"`

	DedupeTypes  []string      `json:"dedupe_types"` // as EventNames has them
	DedupeWindow time.Duration `json:"dedupe_window"`

	MaxEventAge time.Duration `json:"max_event_age"`
	// Now stands for the worker's clock, milliseconds: what is too old or of the future is judged by
	// it. The generator keeps hours away from both bounds, so a worker may run later.
	Now int64 `json:"now"`
	// RefusedObjects are the objectIDs which the API is made to refuse (insightsfake's fault "refuse").
	RefusedObjects []string `json:"refused_objects,omitempty"`
}

// DefaultRules are the defaults of docs/contract.md, section 7, with the applications that the
// generator writes about: default, which has a default index and a list of allowed ones, and outlet,
// which has neither.
func DefaultRules() Rules {
	return Rules{
		Applications: map[string]Application{
			"default": {DefaultIndex: "products", Indices: []string{"products", "products_fashion", "products_home"}},
			"outlet":  {},
		},
		EventNames: map[string]string{
			"shown":       "Recommended Products Viewed",
			"clicked":     "Recommended Product Clicked",
			"addedToCart": "Recommended Product Added To Cart",
			"purchased":   "Recommended Product Purchased",
		},
		SendViews:       true,
		Window:          24 * time.Hour,
		ClickWindow:     24 * time.Hour,
		ClockSkew:       2 * time.Second,
		AllowedLateness: 5 * time.Second,
		Attribution:     ClickedThenShown,
		OnMiss:          OnMissSend,
		DedupeTypes:     []string{"addedToCart", "purchased"},
		DedupeWindow:    24 * time.Hour,
		MaxEventAge:     95 * time.Hour,
		RefusedObjects:  []string{"refused-1", "refused-2", "refused-3", "refused-4", "refused-5"},
	}
}

// maxAhead is how far ahead of now a timestamp may be, milliseconds.
const maxAhead = 5 * 60 * 1000

// patience is how long after its time a miss, or a look-up answered by skew alone, stays open.
func (r *Rules) patience() int64 {
	return max(r.AllowedLateness.Milliseconds(), r.ClockSkew.Milliseconds())
}

func (r *Rules) usesClicks() bool { return r.Attribution != OnlyShown }
func (r *Rules) usesShown() bool  { return r.Attribution != OnlyClicked }

// settingName is the name of a type in Rules.EventNames and Rules.DedupeTypes.
func settingName(k kind) string { return kindNames[k][len("recommendation."):] }

func (r *Rules) deduplicates(k kind) bool {
	for _, name := range r.DedupeTypes {
		if name == settingName(k) {
			return true
		}
	}
	return false
}

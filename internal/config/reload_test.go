package config

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestChangesNameWhatDiffersAndWhetherItMayChangeAtRunTime(t *testing.T) {
	before, after := Default(), Default()
	before.Insights.Applications = map[string]Application{"default": {AppID: "A", APIKey: "old-key"}, "gone": {AppID: "B", Indices: []string{"i"}}}
	after.Insights.Applications = map[string]Application{"default": {AppID: "A", APIKey: "new-key"}, "shop": {AppID: "C"}}
	after.Log.Level = "debug"
	after.Join.Window = time.Hour
	after.Kafka.Topics = []string{"a", "b"}
	got := map[string]Change{}
	for _, c := range Changes(before, after) {
		got[c.Path] = c
	}
	for path, want := range map[string]Change{
		"log.level":                             {Before: "info", After: "debug", Reloadable: true},
		"join.window":                           {Before: "24h", After: "1h"},
		"kafka.topics":                          {Before: "recommendation-events", After: "a, b"},
		"insights.applications.default.api_key": {Before: "***", After: "***", Reloadable: true},
		"insights.applications.shop.app_id":     {After: "C"},
		"insights.applications.gone.app_id":     {Before: "B"},
		"insights.applications.shop.api_key":    {},
	} {
		want.Path = path
		if got[path] != want {
			t.Errorf("%s: got %+v, want %+v", path, got[path], want)
		}
	}
	for c := range maps.Values(got) {
		if strings.Contains(c.Before+c.After, "-key") {
			t.Errorf("a secret is shown: %+v", c)
		}
	}
	if refused := Refused(Changes(before, after)); slices.ContainsFunc(refused, func(c Change) bool { return c.Reloadable }) || len(refused) < 5 {
		t.Errorf("refused: %+v", refused)
	}
	if c := Changes(before, before); len(c) != 0 {
		t.Errorf("a configuration differs from itself: %v", c)
	}
}

// Nothing that decides what becomes of a message may change while messages wait.
func TestOnlySettingsWithoutInfluenceOnAnswersAreReloadable(t *testing.T) {
	want := []string{
		"insights.applications.*.api_key", "insights.applications.*.api_key_file",
		"delivery.max_in_flight", "delivery.max_events_per_second", "delivery.timeout",
		"delivery.backoff.initial_interval", "delivery.backoff.multiplier", "delivery.backoff.max_interval", "delivery.backoff.randomization_factor",
		"drain_timeout", "admin.token", "admin.token_file", "log.level",
	}
	if got := Reloadable(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHashTellsConfigurationsApartButNotTheirSecrets(t *testing.T) {
	a, b := Default(), Default()
	if a.Hash() != b.Hash() || a.Hash() == 0 || a.Hash() >= 1<<48 {
		t.Errorf("%d and %d", a.Hash(), b.Hash())
	}
	b.Admin.Token = "x"
	c := Default()
	c.Admin.Token = "y"
	if b.Hash() != c.Hash() {
		t.Error("the hash tells of a secret")
	}
	b.Batch.MaxEvents = 7
	if a.Hash() == b.Hash() {
		t.Error("another setting has the same hash")
	}
}

package querystore

import (
	"fmt"
	"strings"
	"testing"
)

// What a storefront writes obeys the rules of messages (docs/contract.md, section 1), neither more nor less.
func TestWhatAStorefrontWritesObeysTheRulesOfMessages(t *testing.T) {
	const id = "43b15df305339e827f0ac0bdc5ebcaa7"
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		queryID, objectID string
		sound             bool
	}{
		{id, "sku", true},
		{strings.ToUpper(id), long, true},
		{id, long + "x", false},
		{id, "", false},
		{"message_0", "sku", true},
		{"message_", "sku", false},
		{"message_0 1", "sku", false},
		{"message_ü", "sku", false},
		{"message_" + strings.Repeat("0", 120), "sku", true},
		{"message_" + strings.Repeat("0", 121), "sku", false},
	} {
		click := fmt.Sprintf(`{"queryID":%q,"objectID":%q}`, c.queryID, c.objectID)
		list := fmt.Sprintf(`{"queryID":%q,"objectIDs":[%q]}`, c.queryID, c.objectID)
		if _, ok := appendOutside(nil, KindClick, []byte(click), 1); ok != c.sound {
			t.Errorf("a click %s is taken: %v", click, ok)
		}
		if _, ok := appendOutside(nil, KindImpression, []byte(list), 1); ok != c.sound {
			t.Errorf("an impression %s is taken: %v", list, ok)
		}
	}
}

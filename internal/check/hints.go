package check

import (
	"fmt"

	"eventworker/internal/join"
)

// hints puts into words what the worker only counts.
func hints(c *join.Counters, foreignKey bool) []Hint {
	list := []Hint{}
	add := func(n int64, rule, text string) {
		if n > 0 {
			list = append(list, Hint{rule, text})
		}
	}
	add(c.ViewsOnly, "queryID.missing", some(c.ViewsOnly, "list", "lists")+
		" without queryID: clicks on what it shows stay plain (was clickAnalytics off in the request?)")
	add(c.MalformedQueryIDs, "queryID.form", some(c.MalformedQueryIDs, "queryID is", "queryIDs are")+
		" neither 32 hexadecimal digits nor a message_ id: taken as absent")
	add(c.MessageIDs, "queryID.message", some(c.MessageIDs, "message_ id is", "message_ ids are")+
		" left out: items of a purchase cannot have one")
	add(c.Unpositioned, "position.unknown", some(c.Unpositioned, "object has", "objects have")+
		" a queryID but no position, and no impression of it lists them: sent without both")
	add(c.TokenMismatches, "queryParameters.userToken", "the Recommend request names another userToken than the message")
	add(c.NoCurrency, "currency.form", "no currency of three letters: price, discount and value are left out")
	add(c.ValueDiffers, "value.sum", "value is not the sum of price × quantity: the sum is sent")
	add(c.ValueTooLong, "value.length", "the sum of price × quantity is longer than 16 characters: left out")
	if foreignKey {
		add(1, "key.userToken", "the record's key is not the userToken: the user's messages may not meet")
	}
	return list
}

func some(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

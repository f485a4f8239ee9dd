package event

import (
	"fmt"
	"testing"
)

// What a Decoder remembers of the names of one message changes nothing of another, however like they are.
func TestWhatIsRememberedOfNamesChangesNoAnswer(t *testing.T) {
	const token = `"userToken":"u"`
	var messages []string
	for _, members := range []string{
		`"objectID":"a"`, `"objectID" :"a"`, `"objectID": "a"`, `"objectI\u0044":"a"`, `"objectIDs":["a"]`, `"objectId":"a"`, `"objectI":"a"`,
		`"objectID":"a","objectID":"a"`, `"objectID"`, `"objectID":`, `"objectID"x"a"`, `"":1,"objectID":"a"`, `"a name that is longer than what is remembered":1,"objectID":"a"`,
		`"\"":1,"objectID":"a"`, `"\\":1,"objectID":"a"`, "\"objectID\xff\":1,\"objectID\":\"a\"",
	} {
		for _, form := range []string{`{"type":"recommendation.clicked",%[1]s,%[2]s}`, `{%[1]s, %[2]s ,"type":"recommendation.clicked"}`,
			`{"type":"recommendation.purchased",%[1]s,"items":[{%[2]s},{%[2]s}]}`, `{"type":"recommendation.clicked",%[1]s,%[2]s`} {
			messages = append(messages, fmt.Sprintf(form, token, members))
		}
	}
	answer := func(d *Decoder, message string) string {
		var ev Event
		if r := d.Decode([]byte(message), &ev); r != nil {
			return fmt.Sprintf("%+v", *r)
		}
		return dump(&ev)
	}
	d := NewDecoder(Options{})
	for _, before := range messages {
		for _, message := range messages {
			answer(d, before)
			if got, want := answer(d, message), answer(NewDecoder(Options{}), message); got != want {
				t.Fatalf("%s\nafter %s:\n%s\nwanted:\n%s", message, before, got, want)
			}
		}
	}
}

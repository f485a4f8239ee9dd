package storefront

import "strings"

// kind is the type of a raw message.
type kind uint8

const (
	noKind kind = iota
	shown
	clicked
	addedToCart
	purchased
)

var kindNames = [...]string{"", "recommendation.shown", "recommendation.clicked", "recommendation.addedToCart", "recommendation.purchased"}

// form is how a shown message writes its lists.
type form uint8

const (
	flatForm form = iota
	listsForm
	recommendForm
	facetsForm
)

// said is what a message says, in the words of docs/contract.md, section 1. Texts are as the message
// has them: queryIDs may be upper-case or malformed. An empty text, a zero number, a nil slice mean
// that the field is absent.
type said struct {
	// refusal is the reason of a message that section 1 refuses: malformed, unknown-type or invalid.
	refusal string
	// tombstone says that there is no value at all.
	tombstone bool
	// recordTime is the record's timestamp where it must be a certain one; 0: the time of arrival.
	recordTime int64

	kind                   kind
	userToken              string
	authenticatedUserToken string
	id                     string
	application            string
	eventName              string
	timestamp              int64

	form  form
	lists []list

	index, queryID, model string
	objects               []object
	facets                []facet // of a click
	items                 []item
	currency, value       string
	orderID               string

	style style // how it is written; it changes nothing of what it says
}

// list is one shown list: of objects, or of facets.
type list struct {
	index, model, queryID string
	offset                int64
	objectIDs             []string
	tags                  []string
	facets                []facet
}

type facet struct{ name, value string }

// object is a clicked object; position 0 means that the message gave none.
type object struct {
	id       string
	position int
}

// item is one item of an add-to-cart or purchase.
type item struct {
	objectID              string
	index, queryID, model string
	price, discount       string // decimal text
	quantity              int    // 0: absent
	numbers               bool   // price and discount are written as numbers
}

// style is how a message is written where the contract leaves a choice.
type style struct {
	rfc3339     bool // timestamp as text
	valueNumber bool
	spaced      bool // blanks and an unknown field
	plural      bool // a single clicked object as objectIDs
	otherToken  bool // the Recommend request names another userToken
	isRaw       bool
	raw         string // the value, as it is, if isRaw
}

// key is the record's key.
func (s *said) key() string { return s.userToken }

// cleanQueryID is a queryID as section 1 takes it: 32 hexadecimal digits in lower case, a message_
// id as it is, or nothing.
func cleanQueryID(s string) string {
	if isMessageID(s) {
		return s
	}
	switch {
	case len(s) != 32:
		return ""
	case lowerHexDigits.all(s):
		return s
	case hexDigits.all(s):
		return strings.ToLower(s)
	}
	return ""
}

// characters is a set of those that take one byte.
type characters [256]bool

func charactersOf(list string) *characters {
	var set characters
	for i := range len(list) {
		set[list[i]] = true
	}
	return &set
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

var (
	letters         = charactersOf(alphabet)
	tokenCharacters = charactersOf(alphabet + "0123456789_=/+-")
	lowerHexDigits  = charactersOf("0123456789abcdef")
	hexDigits       = charactersOf("0123456789abcdefABCDEF")
)

// all says whether the text has no other characters.
func (set *characters) all(s string) bool {
	for i := range len(s) {
		if !set[s[i]] {
			return false
		}
	}
	return true
}

// isMessageID: message_ and visible ASCII, 128 characters at most in all.
func isMessageID(s string) bool {
	rest, is := strings.CutPrefix(s, "message_")
	if !is || len(s) > 128 {
		return false
	}
	for i := range len(rest) {
		if rest[i] < 0x21 || rest[i] > 0x7e {
			return false
		}
	}
	return true
}

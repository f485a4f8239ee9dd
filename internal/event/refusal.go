package event

// Reason says why a message became a dead letter. The order is the order of precedence
// (docs/contract.md, section 6): where two apply, the smaller one names the dead letter.
type Reason uint8

// The reasons of dead letters.
const (
	NoReason Reason = iota
	Malformed
	UnknownType
	Invalid
	UnknownApplication
	Future
	TooOld
	NoIndex
	Unmatched
	TooLarge
	Rejected
	Expired
	NumReasons // the number of reasons, not a reason
)

var reasonNames = [NumReasons]string{"", "malformed", "unknown-type", "invalid", "unknown-application", "future",
	"too-old", "no-index", "unmatched", "too-large", "rejected", "expired"}

// String is the reason as dead letters and metrics write it.
func (r Reason) String() string { return reasonNames[r] }

// ParseReason is the inverse of String.
func ParseReason(s string) (Reason, bool) {
	for i, name := range reasonNames {
		if i > 0 && name == s {
			return Reason(i), true
		}
	}
	return NoReason, false
}

// Stage says in which step of the pipeline a message was refused.
type Stage string

// The stages of docs/contract.md, section 6.
const (
	StageDecode   Stage = "decode"
	StageValidate Stage = "validate"
	StageJoin     Stage = "join"
	StageEncode   Stage = "encode"
	StageDeliver  Stage = "deliver"
)

// Refusal says why a message cannot become Insights events, precisely enough to repair it.
type Refusal struct {
	Reason Reason
	Stage  Stage
	// Field is the path of the offending field, such as items[3].price; empty where no field is to blame.
	Field string
	// Rule is a stable id of the broken rule, such as price.decimal.
	Rule string
	// Message tells a person what was seen and what is wanted, in at most 1 KiB. It holds no token
	// and no more of the payload than the offending value, shortened.
	Message string
}

// Error makes a Refusal an error.
func (r *Refusal) Error() string {
	if r.Field == "" {
		return r.Reason.String() + ": " + r.Message
	}
	return r.Reason.String() + ": " + r.Field + ": " + r.Message
}

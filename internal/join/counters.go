package join

// Counters say how attribution went. All count since the task began.
type Counters struct {
	Impressions int64
	// Objects by how they got their queryID, of messages that are not sent, too.
	Own, Clicked, Shown, Skewed, Plain int64
	// MalformedQueryIDs were treated as absent; MessageIDs were left out of purchase items.
	MalformedQueryIDs, MessageIDs int64
	// Unpositioned objects had a queryID of their own but no position to go with it: sent plain.
	Unpositioned int64
	// NoCurrency counts messages whose amounts were left out; ValueDiffers those whose own total is
	// another than the sum; ValueTooLong the sums left out for their length.
	NoCurrency, ValueDiffers, ValueTooLong int64
	// NotKeyed counts messages whose key is not their userToken.
	NotKeyed int64
	// WrongPartition counts messages in a partition where murmur2 does not put their key.
	WrongPartition int64
	// ShownMessages and Lists count shown messages and the lists in them.
	ShownMessages, Lists int64
	// ViewsOnly counts shown lists without any queryID, malformed ones are none of them: clickAnalytics was off.
	ViewsOnly int64
	// TokenMismatches counts shown messages whose Recommend request names another userToken.
	TokenMismatches int64
	// Waited counts messages that waited for the log to say more.
	Waited int64
}

// Add adds other counts.
func (c *Counters) Add(o Counters) {
	for i, p := range c.fields() {
		*p += *o.fields()[i]
	}
}

// Since is what was counted since an earlier state.
func (c *Counters) Since(earlier *Counters) Counters {
	d := *c
	for i, p := range d.fields() {
		*p -= *earlier.fields()[i]
	}
	return d
}

func (c *Counters) fields() []*int64 {
	return []*int64{&c.Impressions, &c.Own, &c.Clicked, &c.Shown, &c.Skewed, &c.Plain, &c.MalformedQueryIDs, &c.MessageIDs,
		&c.Unpositioned, &c.NoCurrency, &c.ValueDiffers, &c.ValueTooLong, &c.NotKeyed, &c.WrongPartition, &c.ShownMessages, &c.Lists, &c.ViewsOnly, &c.TokenMismatches, &c.Waited}
}

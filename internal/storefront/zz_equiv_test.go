package storefront

import (
	"fmt"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
)

func TestZZEquivalence(t *testing.T) {
	for i, change := range []func(c *Config){
		func(c *Config) {}, func(c *Config) { c.Users = 5; c.Late = 0.05 }, func(c *Config) { c.Late, c.OutOfOrder, c.Skewed = 0.1, 0.3, 0.2 },
		func(c *Config) {
			c.Rules = DefaultRules()
			c.Rules.Attribution = OnlyClicked
			c.Rules.OnMiss = OnMissDeadLetter
		},
		func(c *Config) {
			c.Rules = DefaultRules()
			c.Rules.Attribution = OnlyShown
			c.Rules.OnMiss = OnMissDrop
			c.Rules.SendViews = false
		},
		func(c *Config) {
			c.Rules = DefaultRules()
			c.Rules.HashTokens = true
			c.Rules.Window = 20 * time.Second
			c.Rules.ClickWindow = time.Minute
			c.Poison = 0.2
		},
	} {
		for seed := range uint64(3) {
			c := Config{Seed: seed, Messages: 30000, Partitions: 4, End: testEnd, Poison: 0.05}
			change(&c)
			log, verdicts := xxhash.New(), xxhash.New()
			truth, err := NewTruthOf(c)
			if err != nil {
				t.Fatal(err)
			}
			quiet, _ := NewTruthOf(c)
			truth.OnVerdict = func(v *Verdict) { fmt.Fprintf(verdicts, "%+v\n", *v) }
			forEach(t, c, func(m *Message) {
				log.Write(m.AppendJSON(nil))
				truth.Add(m)
				quiet.Add(m)
			})
			truth.Seal()
			quiet.Seal()
			e := xxhash.New()
			for _, x := range []*Truth{truth, quiet} {
				for _, l := range x.expected.lists {
					fmt.Fprintf(e, "%v", l)
				}
				fmt.Fprintf(e, "%v", x.codes)
				fmt.Fprintf(e, "%v", x.refused)
			}
			fmt.Printf("EQ %d %d %x %x %x\n", i, seed, log.Sum64(), verdicts.Sum64(), e.Sum64())
		}
	}
}

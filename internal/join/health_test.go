package join_test

import (
	"fmt"
	"testing"

	"eventworker/internal/join"
	"eventworker/internal/storefront"
)

func TestHealthTellsMatchesByTypeModelAndIndex(t *testing.T) {
	a := newAgain(t, openMemory(t), 0)
	show := func(model, object string) {
		a.handle(live, nil, fmt.Sprintf(`{"type":"recommendation.shown","userToken":"u","timestamp":%d,"index":"products","queryID":%q,"model":%q,"objectIDs":[%q]}`, replayBase-20_000, hexID, model, object))
	}
	show("looking-similar", "a")
	show("own-model", "b")
	a.goOn()
	a.handle(live, nil, fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectIDs":["a","b","c"]}`, replayBase))
	a.handle(live, nil, fmt.Sprintf(`{"type":"recommendation.purchased","userToken":"u","timestamp":%d,"items":[{"objectID":"a"},{"objectID":"d","model":"bought-together"}]}`, replayBase+1000))
	if ages := fmt.Sprint(a.task.Health.Ages); ages != "[[20000 20000] [1000]]" {
		t.Errorf("ages: %s", ages)
	}
	var sum join.Health
	a.task.Health.Take(&sum)
	got := map[string][2]int64{}
	for i := range sum.Objects {
		for kind := range sum.Objects[i] {
			for model, n := range sum.Objects[i][kind] {
				if n != [2]int64{} {
					got[fmt.Sprint(i, " ", join.HealthTypes[kind], " ", join.Models[model])] = n
				}
			}
		}
	}
	products := 0
	for i := range sum.Objects {
		if sum.Objects[i][0][4][1] > 0 {
			products = i
		}
	}
	want := map[string][2]int64{
		fmt.Sprint(products, " clicked looking-similar"):   {0, 1},
		fmt.Sprint(products, " clicked other"):             {0, 1},
		fmt.Sprint(products, " clicked none"):              {1, 0},
		fmt.Sprint(products, " purchased none"):            {0, 1}, // a remembered click does not know its model
		fmt.Sprint(products, " purchased bought-together"): {1, 0},
	}
	for key, n := range want {
		if got[key] != n {
			t.Errorf("%s: %v, want %v", key, got[key], n)
		}
	}
	if n := sum.ByType(); n != [3][2]int64{{1, 2}, {}, {1, 1}} {
		t.Errorf("by type: %v", n)
	}
	a.task.Health.Take(&sum)
	if n := sum.ByType(); n[0][1] != 2 {
		t.Errorf("taken twice: %v", n)
	}
}

func TestIndexesBeyondTheBoundAreOther(t *testing.T) {
	section := openMemory(t)
	c := configOf(storefront.DefaultRules())
	c.Applications = []join.Application{{Name: "default", Served: true, DefaultIndex: "products"}}
	c.Indexes = join.NewIndexes(c.Applications)
	j := &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
	task := join.NewTask(c, section, []join.SourceConfig{{Topic: "t", Shown: true, Clicked: true}}, j)
	task.Clock(replayBase)
	for i := range uint64(500) {
		value := fmt.Appendf(nil, `{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"index":"index-%d","objectID":"a","position":1,"queryID":%q}`, replayBase, i, hexID)
		if err := task.Handle(0, i, join.Message{Offset: int64(i), Time: replayBase, Key: []byte("u"), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	var sum join.Health
	task.Health.Take(&sum)
	if n := len(sum.Objects); n > 60 || n < 50 {
		t.Errorf("%d indexes are told apart", n)
	}
	if sum.Objects[0][0][len(join.Models)-1][1] < 440 || c.Indexes.Name(0) != "other" {
		t.Errorf("the others: %v", sum.Objects[0][0])
	}
}

// What a storefront does wrong must show whatever the configuration makes of the messages that are spoilt by it.
func TestAttributionIsCountedWhateverBecomesOfTheMessage(t *testing.T) {
	for _, c := range []struct {
		name, index string
		onMiss      join.OnMiss
		want        string
	}{
		{"sent", "products", join.MissSend, "encoded"},
		{"dropped", "products", join.MissDrop, "absorbed dropped"},
		{"dead-lettered", "products", join.MissDeadLetter, "refused unmatched"},
		{"without an index", "", join.MissSend, "refused no-index"},
		{"without an index and dropped", "", join.MissDrop, "absorbed dropped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := configOf(storefront.DefaultRules())
			config.OnMiss, config.Applications = c.onMiss, []join.Application{{Name: "default", Served: true, DefaultIndex: c.index}}
			a := newAgain(t, openMemory(t), 0)
			a.task = join.NewTask(config, openMemory(t), []join.SourceConfig{{Topic: "events", Shown: true, Clicked: true}}, a.journal)
			a.task.Clock(replayBase + 1000)
			m, _ := a.handle(live, nil, fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"queryID":"cut-off","objectIDs":["a","b"]}`, replayBase))
			a.goOn()
			a.became(m, c.want)
			var sum join.Health
			a.task.Health.Take(&sum)
			if n := sum.ByType(); n != [3][2]int64{{2, 0}, {}, {}} {
				t.Errorf("by type: %v", n)
			}
			if n := a.task.Counters; n.Plain != 2 || n.MalformedQueryIDs != 1 {
				t.Errorf("counted %+v", n)
			}
		})
	}
}

// A list whose queryID is malformed has one, and a list that lacks an index was shown nevertheless.
func TestShownListsAreCountedByWhatTheyLack(t *testing.T) {
	a := newAgain(t, openMemory(t), 0)
	config := configOf(storefront.DefaultRules())
	config.Applications = []join.Application{{Name: "default", Served: true}}
	a.task = join.NewTask(config, openMemory(t), []join.SourceConfig{{Topic: "events", Shown: true, Clicked: true}}, a.journal)
	a.task.Clock(replayBase + 1000)
	for _, form := range []string{
		`"lists":[{"index":"products","queryID":"cut-off","objectIDs":["a"]},{"index":"products","objectIDs":["a"]},{"index":"products","queryID":"` + hexID + `","objectIDs":["a"]}]`,
		`"index":"products","queryID":"cut-off","objectIDs":["a"]`,
		`"queryID":"` + hexID + `","objectIDs":["a"]`,
		`"recommend":{"request":{"requests":[{"indexName":"products","model":"trending-items","threshold":0}]},"response":{"results":[{"hits":[{"objectID":"a"}],"queryID":"cut-off"}]}}`,
	} {
		a.handle(live, nil, fmt.Sprintf(`{"type":"recommendation.shown","userToken":"u","timestamp":%d,%s}`, replayBase, form))
	}
	if n := a.task.Counters; n.ShownMessages != 4 || n.Lists != 6 || n.ViewsOnly != 1 || n.MalformedQueryIDs != 3 || n.Impressions != 1 {
		t.Errorf("counted %+v", n)
	}
	a.became(2, "refused no-index")
}

package querystore

import (
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// BenchmarkMillions fills a disk store with millions of impressions of 20 objects, for as many users
// as a fifth of that, and says what they take on disk and in memory, how long a restart reads them,
// and what a look-up costs then. EVENTWORKER_BENCH_MILLIONS says how many millions; 1 if it is not
// set. Ten need about 4 GB of disk.
func BenchmarkMillions(b *testing.B) {
	millions := 1
	if text := os.Getenv("EVENTWORKER_BENCH_MILLIONS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			b.Fatalf("EVENTWORKER_BENCH_MILLIONS=%q is not a number of millions", text)
		}
		millions = n
	}
	records := millions * 1_000_000
	users := records / 5
	path := b.TempDir()
	store, section := openAt(b, path)
	shop := newShop()
	for range records {
		if err := section.AddImpression(shop.next(users)); err != nil {
			b.Fatal(err)
		}
	}
	if err := section.Close(); err != nil {
		b.Fatal(err)
	}
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}

	runtime.GC()
	began := time.Now()
	store, section = openAt(b, path)
	restart := time.Since(began)
	defer store.Close()
	defer section.Close()
	runtime.GC()
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	stats := store.Stats()

	object := []byte("sku-none")
	hash := HashObject(object)
	walked := 0
	visit := func(r *Record) bool {
		walked++
		r.Find(hash, object)
		return true
	}
	for b.Loop() {
		if err := section.Walk(shop.userAt(shop.rng.IntN(users)), visit); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(walked)/float64(b.N), "records/op")
	b.ReportMetric(float64(stats.Bytes)/float64(records), "disk-B/impression")
	b.ReportMetric(float64(heap.HeapAlloc)/(1<<20), "heap-MiB")
	b.ReportMetric(float64(restart.Milliseconds())/float64(millions), "restart-ms/million")
}

func openAt(b *testing.B, path string) (*LogStore, Section) {
	store, err := OpenDisk(Options{Path: path})
	if err != nil {
		b.Fatal(err)
	}
	section, err := store.Open(0)
	if err != nil {
		b.Fatal(err)
	}
	section.Source("t")
	return store, section
}

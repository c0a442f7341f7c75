// Command tessera appends random entries to a log of Tessera's POSIX driver and prints what that took, as one JSON
// object. benchmarks/tessera.py builds and runs it, beside the same work on databund's own log.
//
// Each of -writers goroutines adds an entry of -bytes random bytes, waits for it, and adds the next, first until a
// signed checkpoint that covers the entry is published (tessera.PublicationAwaiter), then, for as long again, only
// until the entry is sequenced and integrated (the IndexFuture). The driver is used as it ships: it writes every bundle,
// tile, tree state and checkpoint with O_SYNC and syncs the folder of each. When it asks to come back later
// (tessera.ErrPushback, by which a store for deduplication slows down the log), the writer does, on its own time.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	antispam "github.com/transparency-dev/tessera/storage/posix/antispam"
	"golang.org/x/mod/sumdb/note"
)

// pause is how long a writer waits before it comes back, patience how long it goes on doing so.
const (
	pause    = 5 * time.Millisecond
	patience = time.Minute
)

// options are the choices that change the figures; they are printed with them.
type options struct {
	Writers            int     `json:"writers"`
	EntryBytes         int     `json:"entry_bytes"`
	Seconds            float64 `json:"seconds"`
	BatchMaxSize       uint    `json:"batch_max_size"`
	BatchMaxAgeMs      float64 `json:"batch_max_age_ms"`
	CheckpointInterval float64 `json:"checkpoint_interval_ms"`
	PollMs             float64 `json:"poll_ms"`
	Antispam           string  `json:"antispam"`
}

// figures are what is printed.
type figures struct {
	EntriesS      float64 `json:"entries_s"`
	P50Ms         float64 `json:"p50_ms"`
	P99Ms         float64 `json:"p99_ms"`
	SequencedS    float64 `json:"sequenced_s"`
	SequencedP50  float64 `json:"sequenced_p50_ms"`
	SequencedP99  float64 `json:"sequenced_p99_ms"`
	Entries       int     `json:"entries"`
	Pushbacks     int64   `json:"pushbacks"`
	PublishedSize uint64  `json:"published_size"`
	Options       options `json:"options"`
}

func main() {
	var chosen options
	folder := flag.String("folder", "", "where the log is made; it must be empty")
	flag.IntVar(&chosen.Writers, "writers", 64, "concurrent writers")
	flag.IntVar(&chosen.EntryBytes, "bytes", 385, "size of an entry")
	flag.Float64Var(&chosen.Seconds, "seconds", 5, "how long each of the two measurements takes")
	flag.UintVar(&chosen.BatchMaxSize, "batch-size", 64, "entries that make a batch full")
	flag.Float64Var(&chosen.BatchMaxAgeMs, "batch-age-ms", 10, "how long a batch waits to be full")
	flag.Float64Var(&chosen.CheckpointInterval, "checkpoint-ms", 100, "least time between checkpoints; 100 is the driver's minimum")
	flag.Float64Var(&chosen.PollMs, "poll-ms", 5, "how often the awaiter reads the checkpoint")
	flag.StringVar(&chosen.Antispam, "antispam", "none", "deduplication: none, memory, or badger")
	flag.Parse()

	found, err := measure(context.Background(), *folder, chosen)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// measure makes a log, writes to it twice, and checks that everything that was acknowledged was published.
func measure(ctx context.Context, folder string, chosen options) (figures, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if folder == "" {
		return figures{}, fmt.Errorf("name an empty folder with -folder")
	}
	appending, err := appendOptions(ctx, folder, chosen)
	if err != nil {
		return figures{}, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: folder})
	if err != nil {
		return figures{}, fmt.Errorf("opening the log: %w", err)
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, appending)
	if err != nil {
		return figures{}, fmt.Errorf("opening the appender: %w", err)
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, milliseconds(chosen.PollMs))

	published, err := drive(chosen, func(entry []byte) error {
		_, _, err := awaiter.Await(ctx, appender.Add(ctx, tessera.NewEntry(entry)))
		return err
	})
	if err != nil {
		return figures{}, fmt.Errorf("waiting for publication: %w", err)
	}
	sequenced, err := drive(chosen, func(entry []byte) error {
		_, err := appender.Add(ctx, tessera.NewEntry(entry))()
		return err
	})
	if err != nil {
		return figures{}, fmt.Errorf("waiting for sequencing: %w", err)
	}
	if err := shutdown(ctx); err != nil {
		return figures{}, fmt.Errorf("shutting down: %w", err)
	}
	size, err := publishedSize(ctx, reader)
	if err != nil {
		return figures{}, err
	}
	entries := len(published.latencies) + len(sequenced.latencies)
	if size != uint64(entries) {
		return figures{}, fmt.Errorf("%d entries were acknowledged, the checkpoint has %d", entries, size)
	}
	return figures{
		EntriesS:      published.rate(),
		P50Ms:         published.quantile(0.50),
		P99Ms:         published.quantile(0.99),
		SequencedS:    sequenced.rate(),
		SequencedP50:  sequenced.quantile(0.50),
		SequencedP99:  sequenced.quantile(0.99),
		Entries:       entries,
		Pushbacks:     published.pushbacks + sequenced.pushbacks,
		PublishedSize: size,
		Options:       chosen,
	}, nil
}

// appendOptions turns the choices into Tessera's, with a signing key that is made here and thrown away.
func appendOptions(ctx context.Context, folder string, chosen options) (*tessera.AppendOptions, error) {
	secret, _, err := note.GenerateKey(rand.Reader, "benchmark.example/log")
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	appending := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(milliseconds(chosen.CheckpointInterval)).
		WithBatching(chosen.BatchMaxSize, milliseconds(chosen.BatchMaxAgeMs))
	switch chosen.Antispam {
	case "none":
		return appending, nil
	case "memory":
		return appending.WithAntispam(tessera.DefaultAntispamInMemorySize, nil), nil
	case "badger":
		store, err := antispam.NewAntispam(ctx, filepath.Join(folder, ".state", "antispam"), antispam.AntispamOpts{})
		if err != nil {
			return nil, fmt.Errorf("opening the antispam store: %w", err)
		}
		return appending.WithAntispam(tessera.DefaultAntispamInMemorySize, store), nil
	}
	return nil, fmt.Errorf("-antispam is none, memory or badger, not %q", chosen.Antispam)
}

// run is how long each entry took, and all of them together.
type run struct {
	latencies []time.Duration
	elapsed   time.Duration
	pushbacks int64
}

// drive lets the writers write until the time is over; what was begun by then is waited for and counted.
func drive(chosen options, add func(entry []byte) error) (run, error) {
	begun := time.Now()
	end := begun.Add(time.Duration(chosen.Seconds * float64(time.Second)))
	latencies := make([][]time.Duration, chosen.Writers)
	failures := make([]error, chosen.Writers)
	var writers sync.WaitGroup
	var pushbacks atomic.Int64
	for number := range chosen.Writers {
		writers.Add(1)
		go func() {
			defer writers.Done()
			var seed [32]byte
			if _, failures[number] = rand.Read(seed[:]); failures[number] != nil {
				return
			}
			source := mathrand.NewChaCha8(seed)
			for start := time.Now(); start.Before(end); start = time.Now() {
				entry := make([]byte, chosen.EntryBytes)
				_, _ = source.Read(entry) // it never fails
				failure := add(entry)
				for errors.Is(failure, tessera.ErrPushback) && time.Since(start) < patience {
					pushbacks.Add(1)
					time.Sleep(pause)
					failure = add(entry)
				}
				if failures[number] = failure; failure != nil {
					return
				}
				latencies[number] = append(latencies[number], time.Since(start))
			}
		}()
	}
	writers.Wait()
	done := run{latencies: slices.Concat(latencies...), elapsed: time.Since(begun), pushbacks: pushbacks.Load()}
	slices.Sort(done.latencies)
	for _, failure := range failures {
		if failure != nil {
			return done, failure
		}
	}
	return done, nil
}

func (r run) rate() float64 {
	return round(float64(len(r.latencies)) / r.elapsed.Seconds())
}

func (r run) quantile(share float64) float64 {
	if len(r.latencies) == 0 {
		return 0
	}
	return round(float64(r.latencies[int(share*float64(len(r.latencies)-1))]) / float64(time.Millisecond))
}

// publishedSize reads the tree size from the second line of the published checkpoint (c2sp.org/tlog-checkpoint).
func publishedSize(ctx context.Context, reader tessera.LogReader) (uint64, error) {
	checkpoint, err := reader.ReadCheckpoint(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the checkpoint: %w", err)
	}
	lines := strings.SplitN(string(checkpoint), "\n", 3)
	if len(lines) < 3 {
		return 0, fmt.Errorf("the checkpoint has %d lines", len(lines))
	}
	return strconv.ParseUint(lines[1], 10, 64)
}

func milliseconds(count float64) time.Duration {
	return time.Duration(count * float64(time.Millisecond))
}

func round(figure float64) float64 {
	return float64(int64(figure*100+0.5)) / 100
}

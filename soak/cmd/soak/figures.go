package main

import (
	"context"
	"time"

	"github.com/caddy-sesame/caddy-sesame/soak/internal/gateway"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/ledger"
)

// figures are what a gateway that was never ended took of the machine over the
// time.
type figures struct{ readings []gateway.Figures }

// readEvery is how often they are read. Each reading collects garbage.
const readEvery = time.Second

// read reads them until ctx ends.
func (f *figures) read(ctx context.Context, g *gateway.Gateway, mysqlPort int, books *ledger.Ledger) {
	next := time.NewTicker(readEvery)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		now, err := g.Figures(ctx, mysqlPort)
		if err != nil {
			// The admin endpoint is replaced by a reload.
			if ctx.Err() == nil && !g.Reloading.Touch(time.Now().Add(-time.Minute), time.Now(), 0) {
				books.Violation("reading the figures of gateway %s: %v", g.Name, err)
			}
			continue
		}
		if now.MySQL > gateway.MostConnections {
			books.Violation("gateway %s has %d connections to MySQL, which is more than %d", g.Name, now.MySQL, gateway.MostConnections)
		}
		f.readings = append(f.readings, now)
	}
}

// row is a kind of figure, from the first third of the time to the last.
type row struct {
	name              string
	unit              string
	first, last, most int64
	// slack is how much more there may be at the end, besides a quarter:
	// readings fall into outages by chance, when requests wait.
	slack int64
	// from is how many readings there must be before it is judged.
	from int
}

// residentFrom is from of resident memory. When
// garbage is collected, and memory is returned to the system, decides about it for minutes;
// what a gateway holds shows in its heap much earlier.
const residentFrom = int(10 * time.Minute / readEvery)

func (f *figures) rows() []row {
	rows := make([]row, 0, 5)
	for _, kind := range []struct {
		name, unit string
		slack      int64
		from       int
		of         func(*gateway.Figures) int64
	}{
		{"heap in use", "KiB", 4 << 10, 0, func(f *gateway.Figures) int64 { return f.Heap >> 10 }},
		{"resident memory", "KiB", 24 << 10, residentFrom, func(f *gateway.Figures) int64 { return f.Resident >> 10 }},
		{"goroutines", "", 60, 0, func(f *gateway.Figures) int64 { return int64(f.Goroutines) }},
		{"descriptors", "", 30, 0, func(f *gateway.Figures) int64 { return int64(f.Descriptors) }},
		{"connections to MySQL", "", gateway.MaxOpenConns, 0, func(f *gateway.Figures) int64 { return int64(f.MySQL) }},
	} {
		values := make([]int64, len(f.readings))
		var most int64
		for i := range f.readings {
			values[i] = kind.of(&f.readings[i])
			most = max(most, values[i])
		}
		first, last := ledger.Growth(values)
		rows = append(rows, row{kind.name, kind.unit, first, last, most, kind.slack, kind.from})
	}
	return rows
}

// judge: nothing grows.
func (f *figures) judge(books *ledger.Ledger) {
	if len(f.readings) < 3 {
		books.Violation("there are only %d readings of memory", len(f.readings))
	}
	for _, r := range f.rows() {
		if len(f.readings) >= r.from && r.last > r.first+r.first/4+r.slack {
			books.Violation("%s grew from %d to %d %s", r.name, r.first, r.last, r.unit)
		}
	}
}

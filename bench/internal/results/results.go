// Package results holds what was measured, and condenses it: ratios of the same
// round, their spreads, and whether they meet the targets.
package results

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Results are all that a run has measured. They are written as JSON.
type Results struct {
	Machine  Machine   `json:"machine"`
	Settings Settings  `json:"settings"`
	Peers    []Peer    `json:"peers"`
	Skipped  []Skipped `json:"skipped,omitempty"`

	Throughput []Throughput `json:"throughput,omitempty"`
	Latency    []Latency    `json:"latency,omitempty"`
	Single     []Single     `json:"single,omitempty"`

	Instructions []Instructions `json:"instructions,omitempty"`
	Gateways     []Gateways     `json:"gateways,omitempty"`
	Growth       []Growth       `json:"growth,omitempty"`
}

// Machine says where and with what a run was made.
type Machine struct {
	Date    time.Time `json:"date"`
	CPU     string    `json:"cpu"`
	CPUs    int       `json:"cpus"`
	Memory  int64     `json:"memory"` // bytes
	Kernel  string    `json:"kernel"`
	Go      string    `json:"go"`
	Caddy   string    `json:"caddy"`
	MariaDB string    `json:"mariadb"`
	Django  string    `json:"django,omitempty"`
	Nginx   string    `json:"nginx,omitempty"`
	Wrk     string    `json:"wrk"`
}

// Settings are what a run was told to do.
type Settings struct {
	Rounds      int           `json:"rounds"`
	Duration    time.Duration `json:"duration"`
	Connections []int         `json:"connections"`
	Users       int           `json:"users"`
	Rows        int           `json:"rows"`
	Quick       bool          `json:"quick"`
}

// Reference is the number of connections that most comparisons are made at: 64,
// or if there is no measurement with so many, the middle one.
func (s Settings) Reference() int {
	for _, n := range s.Connections {
		if n == 64 {
			return n
		}
	}
	if len(s.Connections) == 0 {
		return 0
	}
	return s.Connections[len(s.Connections)/2]
}

// Peer is a gateway that was measured.
type Peer struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	What  string `json:"what"`
}

// Skipped is one that was not.
type Skipped struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Throughput is one measurement with a fixed number of busy connections.
type Throughput struct {
	Peer string `json:"peer"`

	// Beside names the peer right before and after which this was measured, to
	// be compared with it.
	Beside string `json:"beside,omitempty"`

	Connections int           `json:"connections"`
	Round       int           `json:"round"`
	Requests    int64         `json:"requests"`
	Duration    time.Duration `json:"duration"`
	P50         time.Duration `json:"p50"`
	P99         time.Duration `json:"p99"`

	// CPU time in all, of the gateway, of the database, of what else the gateway
	// asks, of the application, and of the load generator.
	GatewayCPU     time.Duration `json:"gateway_cpu"`
	DatabaseCPU    time.Duration `json:"database_cpu"`
	BackendCPU     time.Duration `json:"backend_cpu"`
	ApplicationCPU time.Duration `json:"application_cpu"`
	LoadCPU        time.Duration `json:"load_cpu"`

	// The gateway's memory afterwards, and the most that it has had.
	Resident int64 `json:"resident"`
	Peak     int64 `json:"peak"`

	// What the database was asked.
	Questions int64 `json:"questions"`
	Executed  int64 `json:"executed"`
	PagesRead int64 `json:"pages_read"` // from its disk, for want of memory

	// Hits are requests that a kept row answered.
	Hits int64 `json:"hits"`
}

// CPU is the CPU time of all processes.
func (t Throughput) CPU() time.Duration {
	return t.GatewayCPU + t.DatabaseCPU + t.BackendCPU + t.ApplicationCPU + t.LoadCPU
}

// PerSecond is how many requests were answered in a second.
func (t Throughput) PerSecond() float64 { return float64(t.Requests) / t.Duration.Seconds() }

// Latency is one measurement at a fixed rate of requests.
type Latency struct {
	Peer     string        `json:"peer"`
	Beside   string        `json:"beside,omitempty"` // the peer right before which this was measured, to be compared with it
	Round    int           `json:"round"`
	Rate     int           `json:"rate"` // requests per second
	Requests int           `json:"requests"`
	P50      time.Duration `json:"p50"`
	P90      time.Duration `json:"p90"`
	P99      time.Duration `json:"p99"`
	P999     time.Duration `json:"p999"`
	Max      time.Duration `json:"max"`

	// Behind is the 99th percentile of by how much requests were sent too late,
	// which is part of the latencies.
	Behind time.Duration `json:"behind"`
}

// Single has the medians of what one connection alone was answered in, in one
// round.
type Single struct {
	Round  int           `json:"round"`
	Bare   time.Duration `json:"bare"`
	Sesame time.Duration `json:"sesame"`
	Follow time.Duration `json:"follow,omitempty"`
	Select time.Duration `json:"select"`
	Count  int           `json:"count"` // of each
}

// Instructions is how many instructions of its own code a gateway executed for
// requests, as callgrind counts them. Those of the kernel aren't among them. Other
// work on the machine doesn't change them.
type Instructions struct {
	Peer     string `json:"peer"`
	Round    int    `json:"round"`
	Requests int64  `json:"requests"`
	Count    int64  `json:"count"`
}

// Gateways is one measurement of several gateways with one database, while rows of
// users change.
type Gateways struct {
	Peer     string        `json:"peer"`
	Gateways int           `json:"gateways"`
	Policy   string        `json:"policy,omitempty"` // of the balancer in front of them, if there is one
	Round    int           `json:"round"`
	Duration time.Duration `json:"duration"`
	Requests int64         `json:"requests"` // of all gateways

	Changes   int64 `json:"changes"`   // rows that were changed meanwhile
	Questions int64 `json:"questions"` // without those that changed rows

	DatabaseCPU time.Duration `json:"database_cpu"` // changes included
}

// Growth is one measurement with a table of some size.
type Growth struct {
	Kind string `json:"kind"` // peer.Sesame or peer.Follow
	Rows int    `json:"rows"`
	Throughput
}

// Write makes a file of all.
func (r *Results) Write(path string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	return nil
}

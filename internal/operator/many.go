package operator

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
)

// mintBatch is how many users are looked up and get their tokens together.
const mintBatch = 4096

// longestName is more than any primary key, user name or address has.
const longestName = 4096

// makeOne makes the token of one user.
func (m *mint) makeOne(ctx context.Context, by nameKind, name string) (minted, error) {
	found, err := m.issuer.named(ctx, by, []string{name})
	if err != nil {
		return minted{}, err
	}
	result, err := m.make(name, found[0])
	if err != nil {
		return result, fmt.Errorf("%q: %w", name, err)
	}
	return result, nil
}

// makeMany makes the tokens of many users.
func (m *mint) makeMany(ctx context.Context, by nameKind, names []string) ([]minted, error) {
	found, err := m.issuer.named(ctx, by, names)
	if err != nil {
		return nil, err
	}
	results := make([]minted, len(names))
	for i, name := range names {
		if results[i], err = m.make(name, found[i]); err != nil {
			results[i].Err = err.Error()
		}
	}
	return results, nil
}

// job is a batch of users on its way.
type job struct {
	names   []string
	read    int64 // bytes of the input up to its end
	results []minted
	err     error
	done    chan struct{} // closed once results or err is there
}

// mintMany makes tokens for the users in lines, on all CPUs, and writes them in the
// order of the lines. failed counts the users without a token. It ends at the first
// error of the store.
func mintMany(ctx context.Context, m *mint, by nameKind, lines io.Reader, w resultWriter, bar *progress) (failed int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	workers := runtime.GOMAXPROCS(0) + 1 // one waits for MySQL
	jobs := make(chan *job)
	ordered := make(chan *job, 2*workers)

	var working sync.WaitGroup
	defer working.Wait()
	defer cancel()
	for range workers {
		working.Go(func() { m.work(ctx, by, jobs) })
	}
	bar.start(lines)
	var readErr error
	// The program that writes the lines may take its time: nothing waits for this.
	go func() {
		defer close(ordered)
		readErr = readNames(lines, func(names []string, read int64) bool {
			j := &job{names: names, read: read, done: make(chan struct{})}
			return send(ctx, jobs, j) && send(ctx, ordered, j)
		})
	}()
	made := 0
	for j := range ordered {
		select {
		case <-j.done:
		case <-ctx.Done():
			return failed, ctx.Err()
		}
		if j.err != nil {
			bar.end()
			return failed, errors.Join(j.err, w.flush())
		}
		for _, result := range j.results {
			if result.Err != "" {
				failed++
			}
			if err := w.write(result); err != nil {
				return failed, fmt.Errorf("writing the tokens: %w", err)
			}
		}
		made += len(j.results)
		bar.show(made, j.read)
	}
	bar.end()
	if err := w.flush(); err != nil {
		return failed, fmt.Errorf("writing the tokens: %w", err)
	}
	return failed, readErr
}

// work does jobs as long as the context lasts.
func (m *mint) work(ctx context.Context, by nameKind, jobs <-chan *job) {
	for {
		select {
		case j := <-jobs:
			j.results, j.err = m.makeMany(ctx, by, j.names)
			close(j.done)
		case <-ctx.Done():
			return
		}
	}
}

// send reports whether the job was taken.
func send(ctx context.Context, to chan<- *job, j *job) bool {
	select {
	case to <- j:
		return true
	case <-ctx.Done():
		return false
	}
}

// readNames reads lines in batches, without empty ones, until take asks to stop.
func readNames(lines io.Reader, take func(names []string, read int64) bool) error {
	scanner := bufio.NewScanner(lines)
	scanner.Buffer(nil, longestName)
	var read int64
	names := make([]string, 0, mintBatch)
	for scanner.Scan() {
		line := scanner.Text()
		if read == 0 {
			if strings.HasPrefix(line, "\xff\xfe") || strings.HasPrefix(line, "\xfe\xff") {
				return errors.New("reading the users: they are in UTF-16: save them as UTF-8")
			}
			line = strings.TrimPrefix(line, "\ufeff") // as Excel writes it
		}
		read += int64(len(scanner.Bytes())) + 1
		name, err := nameIn(line)
		if err != nil {
			return err
		}
		if name != "" {
			names = append(names, name)
		}
		if len(names) == mintBatch {
			if !take(names, read) {
				return nil
			}
			names = make([]string, 0, mintBatch)
		}
	}
	if len(names) > 0 {
		take(names, read)
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("reading the users: %w", err)
	}
	return nil
}

// nameIn returns the user in a line: the whole line, or, if it begins with a
// quotation mark, the first field of a CSV record (RFC 4180).
func nameIn(line string) (string, error) {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, `"`) {
		return line, nil
	}
	record, err := csv.NewReader(strings.NewReader(line)).Read()
	if err != nil {
		return "", fmt.Errorf("reading the users: a line begins with a quotation mark, and is no record of CSV: %w", err)
	}
	return strings.TrimSpace(record[0]), nil
}

// progress is a bar on a terminal. Nil shows nothing.
type progress struct {
	terminal io.Writer
	began    time.Time
	shown    time.Time
	size     int64 // of the input; 0 if it isn't known
}

// newProgress shows progress where a person sees it, and doesn't get the
// tokens in between.
func newProgress(cmd *command) *progress {
	if !isTerminal(cmd.ErrOrStderr()) || isTerminal(cmd.OutOrStdout()) {
		return nil
	}
	return &progress{terminal: cmd.ErrOrStderr()}
}

func (p *progress) start(input io.Reader) {
	if p == nil {
		return
	}
	p.began = time.Now()
	if file, ok := input.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
			p.size = info.Size()
		}
	}
}

// show draws the bar, ten times a second at most.
func (p *progress) show(made int, read int64) {
	const pause = 100 * time.Millisecond
	if p == nil || time.Since(p.shown) < pause {
		return
	}
	p.shown = time.Now()
	p.draw(made, read)
}

func (p *progress) draw(made int, read int64) {
	const width = 30
	rate := float64(made) / max(time.Since(p.began).Seconds(), 0.001)
	if p.size == 0 {
		fmt.Fprintf(p.terminal, "\r%d users, %.0f/s\x1b[K", made, rate)
		return
	}
	part := min(float64(read)/float64(p.size), 1)
	done := int(part * width)
	fmt.Fprintf(p.terminal, "\r[%s%s] %3.0f%%  %d users, %.0f/s\x1b[K",
		strings.Repeat("#", done), strings.Repeat(".", width-done), 100*part, made, rate)
}

// end takes the bar away.
func (p *progress) end() {
	if p != nil {
		fmt.Fprint(p.terminal, "\r\x1b[K")
	}
}

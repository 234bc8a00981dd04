//go:build race

package sesame_test

// raceAllocs is what the race detector adds to a request's allocations: it has
// sync.Pool forget some of what it is given.
const raceAllocs = 1

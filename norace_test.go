//go:build !race

package sesame_test

// raceAllocs is what the race detector adds to a request's allocations.
const raceAllocs = 0

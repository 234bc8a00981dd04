//go:build !race

package sesame_test

// raceEnabled tells whether the race detector is on, which changes how much
// is allocated.
const raceEnabled = false

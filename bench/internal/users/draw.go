package users

import "math/rand/v2"

// exponent is that of the Zipf distribution: the second most frequent user makes
// about half as many requests as the first, the tenth a tenth.
const exponent = 1.01

// Zipf draws which of n users make requests, by a Zipf distribution, in an order
// that is the same in each run. The frequent users are spread over all.
func Zipf(n, draws int) []int {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // each run draws the same
	place := random.Perm(n)
	ranks := rand.NewZipf(random, exponent, 1, uint64(n-1)) //nolint:gosec // there is a user at least
	drawn := make([]int, draws)
	for i := range drawn {
		drawn[i] = place[ranks.Uint64()]
	}
	return drawn
}

// Package kept keeps rows that a database has answered with, for as long as its log
// of changes proves that they are current.
//
// Two things must be known to use a row again: that no change of it has been
// reported since it was read, and that the reports are complete. The second is what
// a lease is for: it is granted when all that the log had at a moment was reported,
// and runs from that moment.
package kept

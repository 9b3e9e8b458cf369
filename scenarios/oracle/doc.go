// Package oracle judges a run of the platform from the outside: from what
// clients saw, what name servers served and which texts reached people, never
// from what a node believes of itself.
//
// Every oracle is a pure function of a [History] and its own settings, and gives
// a [Verdict]. It promises that equal histories give equal verdicts, on any
// machine: it reads no clock, decides with integers, and lets no map order
// escape. It cannot fail; a history that gives it nothing to judge yields a
// verdict with Judged 0, which is never OK, so an expectation that was never
// tested cannot pass for one that held.
//
// Start reading at History, then at any one oracle.
package oracle

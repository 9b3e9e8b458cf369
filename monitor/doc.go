// Package monitor watches the platform from outside, pages its admins, and
// moves the names of a region that is lost.
//
// Three or more vantages, on machines of different providers, each run this
// role. Every round a vantage probes its targets and controls and sends what it
// saw, signed, to the others (package observe). Deciding is a pure function of
// these observations, the same on every vantage (package decide). Acting is
// apart from it and may be repeated: the vantage of the lowest rank acts at
// once, the others only if they do not see it done in time. Two things are
// done: admins get an SMS (package sms), and the homes of hosts are rewritten
// in DNS at every provider and read back at its name servers (packages home
// and zone).
//
// Admins are told in levels: the first at once, the next by name while nobody
// acknowledges, by the link in the text or by command. Each text goes to one
// provider after another until one takes and delivers it. Openings of one moment
// share a text where they are many, so that nobody is woken for each, and so do
// all-clears; who answers it looks after all of them. Planned work can be
// silenced. What one vantage is told it tells the others in its observations. The pages
// name people only to those who came by the link of a text, or sign with the secret.
//
// It promises: no verdict without a majority of all configured vantages, and
// nothing begun because of one that a majority no longer shares; no name is
// pointed at a region that is not up by verdict, or left empty; a page is sent
// once in the good case, twice at most if an actor died, and never not at all
// while a provider takes it; one all-clear to whoever was paged; no state but the
// small file named in the configuration, without which, or with an old copy of
// it, a vantage still recovers, at the price of a page too many. What was seen is
// kept as well (package record), for people: nothing is decided by it.
//
// Names are kept, too: what a name server or the zone above denies is told of, and
// looked after at once, as somebody may have changed it by hand.
//
// A zone that a vantage cannot open any more, as its key is denied, costs nothing until
// a region is lost, and then it is too late: so it is on that vantage's pages at once,
// and once a majority has found it so for an hour, in which whoever is just replacing
// a key is done, the first of the admins is texted, as for a vantage that is silent.
// That a key may only read shows when something is to be written, not before.
//
// What may fail: peers, providers, name servers and SMS gateways may all be
// away or slow for as long as they like; each is tried again, apart from the
// others, and the incident's story says what is half done. What only a person
// can mend, or has kept names from moving for long, is told to those who were paged.
//
// Start reading at Run, then vantage.round, vantage.decide, vantage.page and
// vantage.act; Incident is what they share.
package monitor

// Package story reads scenario files: stories about the platform that a person
// enjoys reading and the simulator can play.
//
// Parse turns a file into a Story, or into Errors, which hold everything that is
// wrong with the file at once, each with file, line, column and, where a word is
// merely mistyped, the word that was probably meant. A Story that Parse gives
// out can be played: every selector matches a machine, every fault strikes and
// heals within the story, and every expectation can be judged. Parse touches
// nothing but its arguments, keeps no state, and bounds what a hostile file can
// cost. Format writes a story that was made by a program.
//
// Start reading at Story. Faults and Oracles are the vocabulary, as tables.
//
// # The format
//
// A file is one YAML document without anchors, aliases, tags, merge keys or
// repeated keys, of at most 256 KiB in UTF-8. Unknown keys are errors. Keys may
// come in any order; those marked * have to be there.
//
//	format*     1
//	title*      the story in one line of at most 100 characters
//	story*      the story in prose
//	source      list of web addresses that document a real outage; then also
//	facts       list of what those sources say, and
//	assumed     list of what we made up where they are silent
//	found       of a reproducer, which sim explore and sim shrink write: the seed
//	            that shows it, kind and cause of what was found, and by which program
//	starts*     the instant at which the story begins, in UTC: 2026-03-02T14:00:00Z
//	lasts*      how long it goes on, at most 30 days
//	topology*   what is booted
//	workload    list of client groups
//	timeline    list of faults
//	expect*     what has to hold
//
// Durations are written 250ms, 90s, 1h30m, 2d, and are more than 0. All times
// are offsets from the start. Shares are percentages with at most two decimals:
// 99.9%. Rates are 64KB/s or 1MB/s, of 1000 bytes. Names are small letters, digits
// and dashes, a letter first. A host may leave out .espra.com: www, us-1.live.
//
// # Topology
//
//	regions*    a mapping of us-east and eu-west, or one of them, in order: the
//	            first is the home of www. Each gives how many there are of
//	            zones (2), proxy (2) and live (2), and of seed (0) and
//	            understudy (0): without a seed, keys are placed by a table that
//	            never changes. With scaling: {min: 2, max: 6} the cloud keeps the
//	            proxies at their number, and replaces what is lost
//	vps         list of names of off-site machines (fremont, london, singapore);
//	            an empty list means that nobody monitors and the apex is silent
//	dns         providers: list of linode and digitalocean (both); ttl (60s)
//	sms         list of SMS gateways, of twilio and sns (twilio)
//	admins      list of names (ana, raj); or of {name: raj, after: 5m, acknowledges: 2m}:
//	            raj is told of what nobody has acknowledged for so long, and follows
//	            the link of a page so long after it has come, to acknowledge it
//	monitor     probe (10s), open-after (3), close-after (3), hold-down (10m), and
//	            certificates: 14d to have somebody told when less is left
//
// What is left out is as given in parentheses. A live host prefers one region:
// us-1.live.espra.com us-east, eu-1.live.espra.com eu-west.
//
// Machines are named from this. A region us-east with two zones has
//
//	zones                us-east-a, us-east-b
//	us-east-proxy-1 ...  one zone after the other, a first; live alike
//	us-east-seed-1 ...   likewise; understudies from the zone after the last seed
//	us-east-s3-1         the cell's lease store, if there is a seed; in no zone
//	us-east-aws-1        the cloud's control plane, if there is scaling; in no zone.
//	                     The proxies beyond those that run are off until launched
//	us-east-lb-a, -b     the load balancer's nodes, one in each zone
//	us-east-sns-1        the region's end of the SMS gateway sns, in no zone
//
// and outside the regions there are
//
//	fremont                          a VPS, named as given
//	linode-api, linode-ns1 to -ns5   a DNS provider's API and authorities
//	digitalocean-api, -ns1 to -ns3
//	twilio-api                       an SMS gateway
//	root-1, com-1                    DNS above espra.com
//	cloud-dns-1, cloud-dns-2         the cloud's zone, for load balancer names
//	control-1 to control-3           what monitors probe to know that they are online
//	raj-phone                        that of an admin who acknowledges
//	GROUP-01, GROUP-02 ...           clients, with as many digits as the last one needs
//
// # Workload
//
// Each group has
//
//	id*         a name
//	browsers    how many; or
//	publishers  how many
//	home        the live host; publishers without one publish to all of them
//	do*         list of actions
//
// Browsers "load the apex page every 20s" and "subscribe to 2 channels" (which
// needs a home); publishers "publish every 1s", which is some ten bytes, or
// "publish 32KB every 1s", at most 60KB, of 1000 bytes each. The words the, page
// and to may be left out.
//
// # Timeline
//
// Each fault has
//
//	id*         a name; everything random about the fault is keyed by it
//	at*         when it strikes
//	fault*      one of the table Faults
//	on*         a selector
//	for         how long until it heals by itself; which faults need it says the table
//	repeat      {times: 5, every: 2m}: how often it strikes in all, and how long from
//	            one strike to the next; it has to heal in between
//
// and the parameters that the table gives it, such as add or share. In the place
// of one time, at and for may have a range such as 2m-2m30s: each seed then plays
// a time of its own in between. So may the parameters of which the table says it,
// such as percent: 1%-5%. After a fault means after its first strike, and after it
// heals means after the last.
//
// Faults may overlap, also on one machine: what several hold off, paused or broken
// stays so until the last of them heals, what each adds adds up, and of times that
// several set for one thing the longest counts.
//
// A selector is one of
//
//	region us-east
//	zone us-east-a
//	machine us-east-live-1
//	role live, or role live in us-east (a region or a zone)
//	vps fremont
//	provider linode
//	clients us-browsers
//	link A -> B     where A and B are selectors: what travels from A to B
//	link A <-> B    in both directions
//
// # Expectations
//
//	always               list of oracles that are judged after every event
//	after FAULT          mapping of oracles, counted from the fault's start
//	after FAULT heals    mapping of oracles, counted from its end
//	throughout           mapping of oracles over the whole run
//
// The oracles and their parameters are the table Oracles. One without parameters
// is written "nobody-paged: true" in a mapping. A list of parameter mappings uses
// an oracle several times. What no run could judge is an error: a deadline after
// the end, a wait for clients that do not exist.
package story

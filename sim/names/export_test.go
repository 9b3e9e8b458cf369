package names

// Zone lets tests outside the package run authoritative servers.
var Zone = zone

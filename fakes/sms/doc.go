// Package sms is an SMS gateway that speaks Twilio's API: messages are accepted,
// queued, sent and delivered after small delays, and can be looked at and
// listed. It is held to Twilio's own client.
//
// It promises that what it accepts is delivered while it runs, that it refuses
// what Twilio would with Twilio's error codes, and that it keeps no more than the
// last few thousand messages. Message ids come from Machine.Rand, so they
// replay. It keeps all in memory and fails on purpose never: faults belong to the
// world around.
//
// Start reading at Gateway and RunTwilio.
package sms

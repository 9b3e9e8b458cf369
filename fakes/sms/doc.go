// Package sms has two SMS gateways that speak the APIs of Twilio and of Amazon
// SNS, for one account each, and the mobile network behind them: messages are
// queued, sent and delivered after small delays. They are held to Twilio's own
// client, to the AWS SDK and to monitor/sms.
//
// They promise that what is accepted is delivered while they run, unless the
// phone is off, that they refuse what the providers would with the providers'
// errors, and that they keep no more than the last few thousand messages. Ids
// come from Machine.Rand, so they replay. All is kept in memory. Like the
// original, SNS takes messages that it drops, and tells its client nothing of
// it: to phones that have opted out, to numbers that are not verified in the
// sandbox, and beyond the budget of the month. They fail on purpose never:
// faults belong to the world around, and to fakes/faulty.
//
// Each message is logged as "sms accepted" with provider, to, from, body and id,
// and then as "sms delivered", "sms delivered late" or "sms not delivered".
//
// Start reading at Twilio and SNS, or at RunTwilio and RunSNS.
package sms

// What can be known of a webhook's URL without asking anyone: no name is resolved here, nothing
// blocks. What a name resolves to is judged when it is dialled (see CurlSender).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"
#include "webhook/address_guard.h"

namespace forkbox::webhook {

inline constexpr std::size_t kMaxWebhookUrlBytes = 2'048;

// kInvalidArgument with a message for whoever sent it ("webhook_url: …") unless it is http:// or
// https:// with a host, printable ASCII throughout, without user-info, and the host is neither an
// address that `guard` refuses, in whatever spelling, nor a name that means this machine or its
// private network. The parser is the one that will connect.
Result<void> CheckWebhookUrl(std::string_view url, const AddressGuard& guard);

// In lower case; "" when there is none. For logs, and to tell receivers apart.
std::string WebhookHost(const std::string& url);

}  // namespace forkbox::webhook

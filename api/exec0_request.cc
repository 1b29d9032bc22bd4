#include "api/exec0_request.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "api/exec0_files.h"
#include "api/size_text.h"

namespace forkbox::api {
namespace {

using nlohmann::json;
using schema::Execution;
using std::chrono::milliseconds;

constexpr std::size_t kMaxIdempotencyKeyBytes = 255;
constexpr std::size_t kMaxEnvNameBytes = 128;
constexpr std::uint64_t kMega = 1ULL << 20;

// The `resources` that a later version of the API has; explicit limits win.
struct Tier {
  std::string_view name;
  milliseconds timeout;
  std::uint64_t memory_mb;
};
constexpr Tier kTiers[] = {{"lite", milliseconds(10'000), 128},
                           {"basic", milliseconds(30'000), 256},
                           {"medium", milliseconds(60'000), 512},
                           {"large", milliseconds(120'000), 1024},
                           {"max", milliseconds(300'000), 2048}};

tl::unexpected<Exec0Problem> Invalid(Exec0Problem problem) {
  return tl::unexpected<Exec0Problem>(std::move(problem));
}

tl::unexpected<Exec0Problem> TooLarge(const std::string& field, const char* what, std::size_t limit,
                                      std::size_t received) {
  return Invalid(
      {.status = 400,
       .message = std::string(what) + " size exceeds maximum limit",
       .details = {
           {"field", field}, {"limit", SizeText(limit)}, {"received", SizeText(received)}}});
}

std::string TakeText(json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? std::string() : std::move(found->get_ref<std::string&>());
}

bool HasNul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

bool IsEnvName(std::string_view name) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !name.empty() && name.size() <= kMaxEnvNameBytes && letter(name.front()) &&
         std::ranges::all_of(name, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

// One request on its way to an Execution.
class Reader {
 public:
  Reader(json body, const std::string& where, const Exec0RequestLimits& limits,
         LanguageCatalog& languages)
      : body_(std::move(body)), where_(where), limits_(limits), languages_(languages) {}

  tl::expected<Exec0Request, Exec0Problem> Read() {
    using Step = tl::expected<void, Exec0Problem> (Reader::*)();
    for (const Step step :
         {&Reader::ReadLanguage, &Reader::ReadTexts, &Reader::ReadLimits, &Reader::ReadIsolation,
          &Reader::ReadFiles, &Reader::ReadWords, &Reader::ReadTests, &Reader::ReadDelivery}) {
      if (auto done = (this->*step)(); !done) return Invalid(std::move(done.error()));
    }
    ShareOutput(&execution_.limits, limits_,
                std::max<std::size_t>(1, execution_.source.cases.size()));
    return Exec0Request{std::move(execution_), std::move(asked_isolation_)};
  }

 private:
  using Read_ = tl::expected<void, Exec0Problem>;

  [[nodiscard]] std::string Field(std::string_view name) const {
    return where_ + std::string(name);
  }
  [[nodiscard]] const json* Find(const char* name) const {
    const auto found = body_.find(name);
    return found == body_.end() ? nullptr : &*found;
  }

  Read_ ReadLanguage() {
    language_ = languages_.Find(body_["language"].get_ref<const std::string&>());
    if (!language_ && languages_.All()->empty()) {
      return Invalid({.status = 503,
                      .message = "no runner has been seen yet",
                      .headers = {{"Retry-After", "1"}}});
    }
    if (!language_) {
      return Invalid(InvalidField(Field("language"), "one of: " + languages_.KnownNames(),
                                  Received(body_["language"])));
    }
    execution_.language = language_->id;
    execution_.limits = language_->default_limits;
    return {};
  }

  Read_ ReadTexts() {
    execution_.source.code = TakeText(body_, "code");
    if (execution_.source.code.size() > limits_.max_code_bytes) {
      return TooLarge(Field("code"), "Code", limits_.max_code_bytes, execution_.source.code.size());
    }
    execution_.source.stdin_data = TakeText(body_, "stdin");
    if (execution_.source.stdin_data.size() > limits_.max_stdin_bytes) {
      return TooLarge(Field("stdin"), "Input", limits_.max_stdin_bytes,
                      execution_.source.stdin_data.size());
    }
    return {};
  }

  Read_ ReadLimits() {
    schema::Limits& run = execution_.limits;
    run.wall = limits_.default_timeout;
    if (const json* resources = Find("resources")) {
      const auto& name = resources->get_ref<const std::string&>();
      const auto tier = std::ranges::find(kTiers, std::string_view(name), &Tier::name);
      if (tier != std::end(kTiers)) {
        run.wall = tier->timeout;
        run.memory_bytes = tier->memory_mb * kMega;
      }
    }
    if (const json* timeout = Find("timeout")) {
      run.wall = milliseconds(std::llround(timeout->get<double>() * 1000.0));
    }
    if (const json* memory = Find("memoryLimit")) {
      run.memory_bytes =
          static_cast<std::uint64_t>(std::llround(memory->get<double>() * double{kMega}));
    }
    // This API knows wall time only, so several busy threads must not end it before that.
    run.cpu = std::max(run.cpu, 4 * run.wall);
    return {};
  }

  Read_ ReadFiles() {
    const auto files = body_.find("files");
    if (files == body_.end()) return {};
    auto& placed = execution_.source.files;
    std::size_t total = 0;
    for (std::size_t i = 0; i < files->size(); ++i) {
      const std::string at = "files[" + std::to_string(i) + "].";
      json& file = (*files)[i];
      schema::SourceFile one{.path = TakeText(file, "name"), .content = TakeText(file, "content")};
      if (const auto problem = FileNameProblem(one.path)) {
        return Invalid(InvalidField(Field(at + "name"), *problem, Received(json(one.path))));
      }
      if (one.content.size() > limits_.max_file_bytes) {
        return TooLarge(Field(at + "content"), "File", limits_.max_file_bytes, one.content.size());
      }
      total += one.content.size();
      placed.push_back(std::move(one));
    }
    if (total > limits_.max_files_bytes) {
      return TooLarge(Field("files"), "Total file", limits_.max_files_bytes, total);
    }
    if (const auto clash = FindFileClash(placed, language_->file_name)) {
      return Invalid(InvalidField(Field("files[" + std::to_string(clash->index) + "].name"),
                                  clash->limit, Received(json(placed[clash->index].path))));
    }
    return {};
  }

  Read_ ReadWords() {
    std::size_t bytes = 0;
    if (const auto args = body_.find("args"); args != body_.end()) {
      for (std::size_t i = 0; i < args->size(); ++i) {
        auto& word = (*args)[i].get_ref<std::string&>();
        bytes += word.size();
        if (HasNul(word)) {
          return Invalid(InvalidField(Field("args[" + std::to_string(i) + "]"),
                                      "a string without NUL", Received(json(word))));
        }
        execution_.source.args.push_back(std::move(word));
      }
    }
    if (const auto env = body_.find("env"); env != body_.end()) {
      for (auto& [name, value] : env->items()) {
        auto& text = value.get_ref<std::string&>();
        bytes += name.size() + text.size();
        if (!IsEnvName(name)) {
          return Invalid(InvalidField(Field("env"), "an object whose names are like A_NAME_1",
                                      Received(json(name))));
        }
        if (HasNul(text)) {
          return Invalid(
              InvalidField(Field("env." + name), "a string without NUL", Received(json(text))));
        }
        execution_.source.env.emplace(name, std::move(text));
      }
    }
    if (bytes > limits_.max_words_bytes) {
      return TooLarge(Field("env"), "Arguments and environment", limits_.max_words_bytes, bytes);
    }
    return {};
  }

  Read_ ReadTests() {
    const auto tests = body_.find("tests");
    if (tests == body_.end()) return {};
    if (body_.contains("stdin")) {
      return Invalid({.status = 400,
                      .message = "stdin: must be left out beside tests, which have their own",
                      .details = {{"field", Field("stdin")},
                                  {"limit", "left out beside tests"},
                                  {"received", Received(json(execution_.source.stdin_data))}}});
    }
    std::size_t bytes = 0;
    for (json& test : *tests) {
      schema::TestCase one{.stdin_data = TakeText(test, "stdin"),
                           .expected_output = TakeText(test, "expectedOutput")};
      bytes += one.stdin_data.size() + one.expected_output.size();
      execution_.source.cases.push_back(std::move(one));
    }
    if (bytes > limits_.max_tests_bytes) {
      return TooLarge(Field("tests"), "Tests", limits_.max_tests_bytes, bytes);
    }
    return {};
  }

  Read_ ReadIsolation() {
    IsolationChoice choice = limits_.isolation;
    if (const json* isolation = Find("isolation")) {
      asked_isolation_ = isolation->get<std::string>();
      choice = ParseIsolationChoice(asked_isolation_).value_or(choice);  // the schema has its words
    }
    if (limits_.isolation_floor == schema::Isolation::kVm) {
      if (choice == IsolationChoice::kProcess && !asked_isolation_.empty()) {
        return Refuse({.kind = IsolationProblem::Kind::kNotOffered,
                       .message = "this server runs programs in virtual machines only",
                       .limit = "vm"},
                      choice);
      }
      choice = IsolationChoice::kVm;
    }
    auto chosen = ChooseIsolation(choice, execution_.language, execution_.limits, *languages_.All(),
                                  languages_.Vm().get());
    if (!chosen) return Refuse(chosen.error(), choice);
    execution_.isolation = *chosen;
    // Saying nothing is saying what the server does then.
    if (asked_isolation_.empty()) asked_isolation_ = ToString(choice);
    return {};
  }

  tl::unexpected<Exec0Problem> Refuse(const IsolationProblem& problem, IsolationChoice choice) {
    using Kind = IsolationProblem::Kind;
    const auto invalid = [&](const char* field, json received) {
      return Invalid({.status = 400,
                      .message = std::string(field) + ": " + problem.message,
                      .details = {{"field", Field(field)},
                                  {"limit", problem.limit},
                                  {"received", std::move(received)}}});
    };
    switch (problem.kind) {
      case Kind::kLanguage:
        return invalid("language", execution_.language);
      case Kind::kMemory:
        return invalid("memoryLimit", execution_.limits.memory_bytes / kMega);
      case Kind::kNotOffered:
        // A default that cannot be had is no fault of a client's.
        if (!asked_isolation_.empty()) return invalid("isolation", ToString(choice));
        break;
      case Kind::kFailed:
        break;
    }
    return Invalid({.status = 503,
                    .message = "isolation: " + problem.message,
                    .details = {{"field", Field("isolation")}, {"limit", problem.limit}},
                    .headers = {{"Retry-After", "10"}}});
  }

  Read_ ReadDelivery() {
    const json* const async = Find("async");
    const bool queued = async != nullptr && async->get<bool>();
    execution_.webhook_url = TakeText(body_, "webhook_url");
    const bool notified = !execution_.webhook_url.empty();
    execution_.delivery = notified ? schema::Delivery::kWebhook
                          : queued ? schema::Delivery::kPoll
                                   : schema::Delivery::kWait;
    execution_.priority =
        notified || queued ? schema::Priority::kBackground : schema::Priority::kInteractive;
    return {};
  }

  json body_;
  const std::string& where_;
  const Exec0RequestLimits& limits_;
  LanguageCatalog& languages_;
  std::optional<sandbox::LanguageStatus> language_;
  Execution execution_;
  std::string asked_isolation_;
};

}  // namespace

tl::expected<Exec0Request, Exec0Problem> ToExec0Request(json body, const std::string& where,
                                                        const schema::RequestSchema& schema,
                                                        const Exec0RequestLimits& limits,
                                                        LanguageCatalog& languages) {
  if (const Result<void> valid = schema.Validate(body); !valid) {
    Exec0Problem problem = InvalidBody(valid.error(), body);
    if (!where.empty() && problem.details.contains("field")) {
      problem.details["field"] = where + problem.details["field"].get<std::string>();
      problem.message = where + problem.message;
    }
    return Invalid(std::move(problem));
  }
  return Reader(std::move(body), where, limits, languages).Read();
}

tl::expected<std::string, Exec0Problem> ToIdempotencyKey(const std::string& text) {
  const bool printable = std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7F; });
  if (text.empty() || text.size() > kMaxIdempotencyKeyBytes || !printable) {
    return Invalid(InvalidField("Idempotency-Key", "1 to 255 printable characters",
                                "a string of " + std::to_string(text.size()) + " bytes"));
  }
  return text;
}

void ShareOutput(schema::Limits* limits, const Exec0RequestLimits& bounds, std::size_t runs) {
  const std::size_t share = bounds.max_call_output_bytes / (2 * std::max<std::size_t>(1, runs));
  limits->output_bytes = std::min<std::uint64_t>(
      {limits->output_bytes, bounds.max_output_bytes, std::max<std::size_t>(1, share)});
}

}  // namespace forkbox::api

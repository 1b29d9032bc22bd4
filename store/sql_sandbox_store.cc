#include "store/sql_sandbox_store.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "store/sandbox_sql.h"
#include "store/sql_text.h"

namespace forkbox::store {
namespace {

using Ran = GroupCommit::Ran;
using Pairs = std::vector<std::pair<std::string, std::string>>;

// A sandbox lives in the memory of its runner: what a power cut takes from the rows it has taken
// from the machine as well.
constexpr Durability kDurability = Durability::kProcessCrash;

std::string LabelOf(const std::pair<std::string, std::string>& pair) {
  return pair.first + "=" + pair.second;
}

bool AllText(const Pairs& pairs) {
  return std::ranges::all_of(
      pairs, [](const auto& pair) { return IsSqlText(pair.first) && IsSqlText(pair.second); });
}

std::string MetadataJson(const Pairs& pairs) {
  nlohmann::json json = nlohmann::json::array();
  for (const auto& [key, value] : pairs) json.push_back({key, value});
  return json.dump();
}

Pairs ParseMetadata(std::string_view text) {
  Pairs pairs;
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_array()) return pairs;
  for (const auto& one : json) {
    if (one.is_array() && one.size() == 2 && one[0].is_string() && one[1].is_string()) {
      pairs.emplace_back(one[0].get<std::string>(), one[1].get<std::string>());
    }
  }
  return pairs;
}

SandboxRecord ReadSandbox(const std::vector<Cell>& row) {
  SandboxRecord record;
  record.id = row[0].text();
  record.owner = row[1].text();
  record.runner_id = row[2].text();
  record.address = row[3].text();
  record.token = row[4].text();
  record.state = SandboxStateOf(row[5].text()).value_or(SandboxState::kFailed);
  record.reason = row[6].text();
  record.message = row[7].text();
  record.request = row[8].text();
  record.metadata = ParseMetadata(row[9].text());
  record.created_unix_ms = row[10].number();
  record.changed_unix_ms = row[11].number();
  if (row[12].number() != 0) record.expires_unix_ms = row[12].number();
  return record;
}

Result<Result<bool>> AnyAffected(Connection&, const Ran& ran) {
  return Result<bool>(ran.rows.affected > 0);
}

Result<Result<std::uint64_t>> CountAffected(Connection&, const Ran& ran) {
  return Result<std::uint64_t>(static_cast<std::uint64_t>(ran.rows.affected));
}

Result<void> InsertLabels(Connection& to, const std::string& id, const Pairs& metadata) {
  for (const auto& pair : metadata) {
    const std::string label = LabelOf(pair);
    if (const auto inserted = to.Execute(sql::kInsertLabel, {id, label}); !inserted) {
      return Fail(inserted.error());
    }
  }
  return {};
}

}  // namespace

Result<void> SqlSandboxStore::Insert(const SandboxRecord& record) {
  if (!IsPlausibleId(record.id)) return Fail(ErrorCode::kInvalidArgument, "sandbox: not an id");
  for (const std::string* text : {&record.owner, &record.runner_id, &record.address, &record.token,
                                  &record.reason, &record.message, &record.request}) {
    if (!IsSqlText(*text)) return Fail(ErrorCode::kInvalidArgument, "sandbox: not text");
  }
  if (!AllText(record.metadata)) {
    return Fail(ErrorCode::kInvalidArgument, "sandbox: metadata is not text");
  }
  return writer_.Run<void>(
      kDurability, {sql::kInsertSandbox,
                    {record.id, record.owner, record.runner_id, record.address, record.token,
                     std::string(ToString(record.state)), record.reason, record.message,
                     record.request, MetadataJson(record.metadata), record.created_unix_ms,
                     record.changed_unix_ms, record.expires_unix_ms.value_or(0)},
                    [&](Connection& to, const Ran& ran) -> Result<Result<void>> {
                      if (ran.rows.affected == 0 && !ran.again) {
                        return Result<void>(Fail(ErrorCode::kConflict, "sandbox: the id is taken"));
                      }
                      auto labels = InsertLabels(to, record.id, record.metadata);
                      if (!labels) return Fail(labels.error());
                      return Result<void>();
                    },
                    /*answer_writes=*/!record.metadata.empty()});
}

Result<std::optional<SandboxRecord>> SqlSandboxStore::Get(const std::string& id) {
  if (!IsPlausibleId(id)) return std::optional<SandboxRecord>();
  const Result<Rows> found = readers_.Execute(sql::kGetSandbox, {id});
  if (!found) return Fail(found.error());
  if (found->rows.empty()) return std::optional<SandboxRecord>();
  return std::optional<SandboxRecord>(ReadSandbox(found->rows[0]));
}

Result<SandboxPage> SqlSandboxStore::List(const SandboxQuery& query) {
  std::vector<std::string> labels;
  for (const auto& pair : query.metadata) labels.push_back(LabelOf(pair));
  std::ranges::sort(labels);
  labels.erase(std::ranges::unique(labels).begin(), labels.end());
  if (labels.size() > sql::kLabelSlots) {
    return Fail(ErrorCode::kInvalidArgument, "metadata: at most 16 pairs can be asked for");
  }
  // Nobody has them.
  if (!AllText(query.metadata) || (query.owner && !IsSqlText(*query.owner))) return SandboxPage();

  const std::string owner = query.owner.value_or("");
  std::vector<Param> params{std::int64_t{query.owner ? 0 : 1}, std::string_view(owner)};
  for (std::size_t i = 0; i < sql::kStateSlots; ++i) {
    const SandboxState state = query.states.empty()
                                   ? static_cast<SandboxState>(i)
                                   : query.states[std::min(i, query.states.size() - 1)];
    params.emplace_back(ToString(state));
  }
  params.emplace_back(static_cast<std::int64_t>(labels.size()));
  for (std::size_t i = 0; i < sql::kLabelSlots; ++i) {
    params.emplace_back(i < labels.size() ? std::string_view(labels[i]) : std::string_view());
  }

  const Result<Rows> counted = readers_.Execute(sql::kCountSandboxes, params);
  if (!counted) return Fail(counted.error());
  SandboxPage page;
  page.total = counted->rows.empty() ? 0 : static_cast<std::uint64_t>(counted->rows[0][0].number());

  params.emplace_back(std::int64_t{query.page_size});
  params.emplace_back(std::int64_t{query.page_size} * (std::max<std::int64_t>(query.page, 1) - 1));
  const Result<Rows> found = readers_.Execute(sql::kListSandboxes, params);
  if (!found) return Fail(found.error());
  for (const auto& row : found->rows) page.items.push_back(ReadSandbox(row));
  return page;
}

Result<bool> SqlSandboxStore::SetState(const std::string& id, SandboxState state,
                                       const std::string& reason, const std::string& message,
                                       std::int64_t now_unix_ms) {
  if (!IsPlausibleId(id)) return false;
  return writer_.Run<bool>(kDurability, {sql::kSetSandboxState,
                                         {id, std::string(ToString(state)), ToSqlText(reason),
                                          ToSqlText(message), now_unix_ms},
                                         AnyAffected});
}

Result<bool> SqlSandboxStore::DeleteFailed(const std::string& id, std::int64_t now_unix_ms) {
  if (!IsPlausibleId(id)) return false;
  return writer_.Run<bool>(kDurability,
                           {sql::kDeleteFailedSandbox, {id, now_unix_ms}, AnyAffected});
}

Result<bool> SqlSandboxStore::SetExpiry(const std::string& id, std::int64_t expires_unix_ms) {
  if (!IsPlausibleId(id)) return false;
  return writer_.Run<bool>(kDurability,
                           {sql::kSetSandboxExpiry, {id, expires_unix_ms}, AnyAffected});
}

Result<bool> SqlSandboxStore::SetMetadata(const std::string& id, const Pairs& was,
                                          const Pairs& metadata) {
  if (!IsPlausibleId(id)) return false;
  if (!AllText(was) || !AllText(metadata)) {
    return Fail(ErrorCode::kInvalidArgument, "sandbox: metadata is not text");
  }
  return writer_.Run<bool>(kDurability,
                           {sql::kSetSandboxMetadata,
                            {id, MetadataJson(metadata), MetadataJson(was)},
                            [&](Connection& to, const Ran& ran) -> Result<Result<bool>> {
                              if (ran.rows.affected == 0) return Result<bool>(false);
                              const auto gone = to.Execute(sql::kDeleteLabels, {id});
                              if (!gone) return Fail(gone.error());
                              const auto labels = InsertLabels(to, id, metadata);
                              if (!labels) return Fail(labels.error());
                              return Result<bool>(true);
                            },
                            /*answer_writes=*/true});
}

Result<std::uint64_t> SqlSandboxStore::FailOfRunner(const std::string& runner_id,
                                                    const std::string& reason,
                                                    std::int64_t now_unix_ms) {
  if (!IsSqlText(runner_id)) return std::uint64_t{0};
  return writer_.Run<std::uint64_t>(
      kDurability, {sql::kFailSandboxesOfRunner,
                    {runner_id, ToSqlText(reason),
                     std::string("the runner that had this sandbox was started anew"), now_unix_ms},
                    CountAffected});
}

Result<std::uint64_t> SqlSandboxStore::FailOfLostRunners(std::int64_t before_unix_ms,
                                                         std::int64_t now_unix_ms) {
  return writer_.Run<std::uint64_t>(
      kDurability,
      {sql::kFailSandboxesOfLostRunners,
       {before_unix_ms, std::string("the runner that had this sandbox is gone"), now_unix_ms},
       CountAffected});
}

Result<std::uint64_t> SqlSandboxStore::Prune(std::int64_t before_unix_ms) {
  return writer_.Run<std::uint64_t>(
      kDurability, {sql::kPruneLabels,
                    {before_unix_ms},
                    [](Connection&, const Ran& ran) {
                      return Result<Result<std::uint64_t>>(
                          Result<std::uint64_t>(static_cast<std::uint64_t>(ran.then[0].affected)));
                    },
                    /*answer_writes=*/false,
                    {{sql::kPruneSandboxes, {before_unix_ms}}}});
}

}  // namespace forkbox::store

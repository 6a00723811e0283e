"""openai_admin_test.py — the unmodified `openai` client administers the platform.

`client.admin.organization` of the release on PyPI, with strict validation: what the client's own
types do not allow raises. Namespaces without a counterpart here (users, groups, roles, invites,
certificates, external keys and storage, data retention, hosted tools, service tiers) are not asked.
"""

import unittest

import harness

try:
    import openai
except ImportError:
    openai = None


@unittest.skipIf(openai is None or not hasattr(openai.OpenAI, "admin"),
                 "the openai package is not installed, or has no admin namespaces")
class OpenAiAdmin(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        host, port = cls.server.api
        cls.client = openai.OpenAI(api_key="none", admin_api_key=cls.server.admin.key,
                                   base_url=f"http://{host}:{port}/v1", max_retries=0,
                                   _strict_response_validation=True)
        cls.addClassCleanup(cls.client.close)
        cls.admin = cls.client.admin.organization

    def setUp(self):
        self.project = self.admin.projects.create(name="made by openai")
        self.id = self.project.id

    def test_projects(self):
        projects = self.admin.projects
        self.assertEqual((self.project.name, self.project.status), ("made by openai", "active"))
        self.assertEqual(projects.retrieve(self.id).id, self.id)
        self.assertEqual(projects.update(self.id, name="renamed").name, "renamed")
        self.assertIn(self.id, [project.id for project in projects.list(limit=1)])
        self.assertEqual(projects.archive(self.id).status, "archived")
        self.assertNotIn(self.id, [project.id for project in projects.list()])
        self.assertIn(self.id, [p.id for p in projects.list(include_archived=True, limit=2)])

    def test_service_accounts_and_their_keys(self):
        accounts = self.admin.projects.service_accounts
        made = accounts.create(self.id, name="bot", expires_in_seconds=3600)
        self.assertTrue(made.api_key.value.startswith("sk-live-"))
        self.assertGreater(made.api_key.expires_at, made.api_key.created_at)
        bare = accounts.create(self.id, name="bare", create_service_account_only=True)
        self.assertIsNone(bare.api_key)
        self.assertEqual(accounts.retrieve(made.id, project_id=self.id).name, "bot")
        self.assertEqual(accounts.update(made.id, project_id=self.id, name="robot").name, "robot")
        self.assertEqual([a.name for a in accounts.list(self.id, limit=1)], ["robot", "bare"])
        second = accounts.api_keys.create(made.id, project_id=self.id, name="second")
        keys = self.admin.projects.api_keys
        listed = {key.id: key for key in keys.list(self.id, limit=1)}
        self.assertEqual(set(listed), {made.api_key.id, second.id})
        shown = keys.retrieve(second.id, project_id=self.id)
        self.assertEqual((shown.owner.service_account.id, shown.owner_project_access),
                         (made.id, "active"))
        self.assertTrue(keys.delete(second.id, project_id=self.id).deleted)
        self.assertTrue(accounts.delete(made.id, project_id=self.id).deleted)
        self.assertEqual([key.id for key in keys.list(self.id)], [])
        with self.assertRaises(openai.NotFoundError):
            accounts.retrieve(made.id, project_id=self.id)

    def test_rate_limits(self):
        limits = self.admin.projects.rate_limits
        whole = next(iter(limits.list_rate_limits(self.id)))
        changed = limits.update_rate_limit(whole.id, project_id=self.id,
                                           max_requests_per_1_minute=7,
                                           max_tokens_per_1_minute=700)
        self.assertEqual((changed.max_requests_per_1_minute, changed.max_tokens_per_1_minute),
                         (7, 700))

    def test_spend_limit_and_alerts(self):
        limit = self.admin.projects.spend_limit
        made = limit.update(self.id, threshold_amount=500, currency="USD", interval="month")
        self.assertEqual((made.threshold_amount, made.enforcement.status), (500, "enforcing"))
        self.assertEqual(limit.retrieve(self.id).threshold_amount, 500)
        self.assertTrue(limit.delete(self.id).deleted)
        alerts = self.admin.projects.spend_alerts
        fields = {"currency": "USD", "interval": "month",
                  "notification_channel": {"type": "email", "recipients": ["a@example.org"],
                                           "subject_prefix": "[us]"}}
        alert = alerts.create(self.id, threshold_amount=300, **fields)
        self.assertEqual(alert.notification_channel.recipients, ["a@example.org"])
        self.assertEqual(alerts.retrieve(alert.id, project_id=self.id).to_dict(), alert.to_dict())
        changed = alerts.update(alert.id, project_id=self.id, threshold_amount=400, **fields)
        self.assertEqual(changed.threshold_amount, 400)
        self.assertEqual([a.id for a in alerts.list(self.id)], [alert.id])
        self.assertTrue(alerts.delete(alert.id, project_id=self.id).deleted)

    def test_spend_limit_and_alerts_of_the_organization(self):
        limit = self.admin.spend_limit
        made = limit.update(threshold_amount=500_000, currency="USD", interval="month")
        self.assertEqual((made.threshold_amount, made.enforcement.status), (500_000, "enforcing"))
        self.assertTrue(limit.delete().deleted)
        alerts = self.admin.spend_alerts
        fields = {"currency": "USD", "interval": "month",
                  "notification_channel": {"type": "email", "recipients": ["a@example.org"]}}
        alert = alerts.create(threshold_amount=300, **fields)
        self.assertEqual(alert.object, "organization.spend_alert")
        self.assertEqual(alerts.retrieve(alert.id).to_dict(), alert.to_dict())
        self.assertEqual(alerts.update(alert.id, threshold_amount=400, **fields).threshold_amount,
                         400)
        self.assertEqual([a.id for a in alerts.list()], [alert.id])
        self.assertTrue(alerts.delete(alert.id).deleted)

    def test_model_permissions(self):
        permissions = self.admin.projects.model_permissions
        made = permissions.update(self.id, mode="allow_list", model_ids=["bot"])
        self.assertEqual((made.mode, made.api_model_ids), ("allow_list", ["bot"]))
        self.assertEqual(permissions.retrieve(self.id).to_dict(), made.to_dict())
        self.assertTrue(permissions.delete(self.id).deleted)

    def test_admin_keys(self):
        keys = self.admin.admin_api_keys
        made = keys.create(name="second", expires_in_seconds=60)
        self.assertTrue(made.value.startswith("sk-admin-"))
        self.assertEqual(keys.retrieve(made.id).name, "second")
        self.assertIn(made.id, [key.id for key in keys.list(limit=1)])
        self.assertTrue(keys.delete(made.id).deleted)
        with self.assertRaises(openai.NotFoundError):
            keys.retrieve(made.id)

    def test_usage_and_costs(self):
        account = self.admin.projects.service_accounts.create(self.id, name="bot")
        harness.Client(self.server, account.api_key.value).chat(
            harness.BASE, "Hello", max_tokens=2).expect(200)
        page = self.admin.usage.completions(start_time=0, group_by=["project_id", "model"],
                                            project_ids=[self.id])
        results = [result for bucket in page.data for result in bucket.results]
        self.assertEqual([(r.project_id, r.model, r.output_tokens) for r in results],
                         [(self.id, harness.BASE, 2)])
        costs = self.admin.usage.costs(start_time=0, project_ids=[self.id])
        self.assertEqual(costs.data[0].results[0].amount.currency, "usd")

    def test_audit_logs(self):
        found = self.admin.audit_logs.list(project_ids=[self.id], event_types=["project.created"])
        self.assertEqual([entry.type for entry in found], ["project.created"])

    def test_what_is_wrong_raises_what_its_users_catch(self):
        with self.assertRaises(openai.NotFoundError):
            self.admin.projects.retrieve("proj_none")
        with self.assertRaises(openai.BadRequestError):
            self.admin.projects.create(name="")


if __name__ == "__main__":
    unittest.main()

"""The status page in a real browser."""

import os
import re
import shutil

import numpy as np
import pytest

from robot_server import testing

playwright = pytest.importorskip(
  'playwright.sync_api', reason='playwright is not installed'
)
CHROMIUM = shutil.which('chromium')
TOKEN = 'a-secret-of-some-length'

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason='there is no chromium')


@pytest.fixture(scope='module')
def browser():
  # The sandbox of Chromium does not run as root, as containers do.
  arguments = ['--no-sandbox'] if os.geteuid() == 0 else []
  with playwright.sync_playwright() as play:
    browser = play.chromium.launch(executable_path=CHROMIUM, args=arguments)
    yield browser
    browser.close()


@pytest.fixture
def driver():
  return testing.KinematicDriver()


@pytest.fixture
def page(browser):
  page = browser.new_page()
  page.faults = []
  page.on('pageerror', lambda error: page.faults.append(str(error)))
  yield page
  page.close()


playwright.expect.set_options(timeout=60_000)  # ms; 5,000 by default


def expect(page, selector):
  return playwright.expect(page.locator(selector))


def test_the_page_shows_the_arm(page, driver):
  driver.force = np.array([1.0, -2.0, 3.25])
  asked = []
  page.on('request', lambda request: asked.append(request.url))
  with testing.serving(driver) as url:
    page.goto(url)
    expect(page, '#status').to_have_text('ok')
    expect(page, '#arm').to_contain_text('0.5000')
    expect(page, '#arm').to_contain_text('3.2500')
    expect(page, '#controller').to_contain_text('KinematicDriver')
    driver.mode, driver.faults = 'reflex', ('joint_reflex',)
    expect(page, '#status').to_have_text('not ready')
    expect(page, '#controller').to_contain_text('joint_reflex')
  assert all(request.startswith(url) for request in asked)
  assert page.faults == []


def test_the_hold_button(page, driver):
  with testing.serving(driver) as url:
    page.goto(url)
    page.click('#hold')
    expect(page, '#status').to_have_text('held')
    expect(page, '#commands').to_contain_text('"hold"')
    assert page.request.post(url + 'close_gripper').status == 409

    page.click('#release')
    expect(page, '#status').to_have_text('ok')
    assert page.request.post(url + 'close_gripper').status == 200
  assert len(driver.commands) == 1


def test_a_hold_that_failed_is_told(page, driver):
  driver.silent_since = driver.now() - 10
  with testing.serving(driver) as url:
    page.goto(url)
    page.click('#hold')
    expect(page, '#message').to_have_text(re.compile('old'))
    expect(page, '#status').to_have_text('held')


def test_the_token(page, driver):
  with testing.serving(driver, token=TOKEN) as url:
    page.goto(url)
    expect(page, '#status').to_contain_text('Authorization')
    page.fill('#token', TOKEN)
    page.press('#token', 'Tab')
    expect(page, '#status').to_have_text('ok')
    page.click('#hold')
    expect(page, '#status').to_have_text('held')


def test_what_a_client_sent_is_never_markup(page, driver):
  driver.faults = ('<img src=x onerror=alert(1)>',)
  with testing.serving(driver) as url:
    page.goto(url)
    expect(page, '#controller').to_contain_text('<img src=x')
    assert page.locator('img').count() == 0


def test_a_server_that_is_gone_is_told(page, driver):
  with testing.serving(driver) as url:
    page.goto(url)
    expect(page, '#status').to_have_text('ok')
  expect(page, '#status').to_contain_text('no answer')
